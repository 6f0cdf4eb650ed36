"""A loss as a layer of the model, which keeps what it learns."""

import math
from typing import Any, Self

import keras

from nearfar.keras.replicas import everybodys
from nearfar.keras.retrieval import retrieval_names
from nearfar.losses import Loss as Statement
from nearfar.losses import loss_from_dict
from nearfar.losses.learned import LEAST, proxy_shape, starts, statement


@keras.saving.register_keras_serializable(package="nearfar")
class LossLayer(keras.layers.Layer):  # type: ignore[misc]
    """Adds a nearfar loss of its inputs to the model's, and gives them on.

    ``x, y = LossLayer(nf.CLIP(), learn_temperature=True)([x, y])``: a model of two encoders that is
    compiled without a loss and fitted without targets. Labels or targets are an input of the model.

    Its inputs are those of the loss, in call order, or a dict of them by name with all that a call
    may say by name: ``LossLayer(nf.SupCon())({"embeddings": x, "labels": y, "reference": memory,
    "reference_labels": marks})``. A retrieval task of TensorFlow Recommenders says some things in
    words of its own, which the call takes too, by these names or in the dict:

    - ``candidate_ids`` (n,), numbers, or text with TensorFlow: the loss's ``ids``, so that a row of
      the same id as the positive's is no negative (InfoNCE; what CLIP makes of it is its ``same``);
    - ``candidate_sampling_probability`` (n,), of each candidate to be in a batch, taken from 1e-6
      on as there: its logarithm is the loss's ``log_q``; a tuple for a loss with several sets;
    - ``sample_weight`` (n,): the loss's, whose mean divides by the sum of the weights.

    ``nf.preset("tensorflow-recommenders/Retrieval")`` is that task's loss. Under a `tf.distribute`
    strategy the loss is that of the rows of all replicas, of every input but the proxies: gradients
    are right, and the value that Keras shows is too large, since it holds what layers add in one
    list for all replicas.

    Parameters
    ----------
    loss
        Any nearfar loss, with the reduction "mean" or "sum".
    learn_temperature
        Make the temperature a weight of the model, stored as its logarithm and held at 0.01 or
        above; a loss with a bias (SigLIP) learns that too. Both start at the loss's own values.
    proxies
        For a loss of proxies, the shape of those that the layer holds as a weight of the model,
        (C, d), or (C, K, d) for SoftTriple. Then its inputs are embeddings and labels.

    Raises
    ------
    TypeError
        If `loss` is no nearfar loss.
    ValueError
        For proxies of a loss that takes none, or of a shape that it does not take;
        for ``reduction="none"``; if a temperature is to be learned that the loss does not have,
        that starts below 0.01, or that is a factor of the loss (scale_by="temperature").
    """

    def __init__(
        self,
        loss: Statement,
        learn_temperature: bool = False,
        proxies: tuple[int, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.loss = statement(loss)
        self.learn_temperature = learn_temperature
        if loss.reduction == "none":
            raise ValueError(
                'expected reduction "mean" or "sum", as a model adds up numbers; received "none"; '
                "leave it out"
            )
        self.proxies: Any = None
        if proxies is not None:
            self.proxies = self.add_weight(
                name="proxies",
                shape=proxy_shape(loss, proxies),
                initializer=keras.initializers.RandomNormal(stddev=1.0),
            )
        self._learned: dict[str, Any] = {}
        for name, value in starts(loss).items() if learn_temperature else ():
            is_temperature = name == "temperature"
            self._learned[name] = self.add_weight(
                name="log_temperature" if is_temperature else name,
                shape=(),
                initializer=keras.initializers.Constant(
                    math.log(value) if is_temperature else value
                ),
                constraint=_AtLeast() if is_temperature else None,
            )

    def call(
        self,
        inputs: Any,
        sample_weight: Any = None,
        candidate_sampling_probability: Any = None,
        candidate_ids: Any = None,
    ) -> Any:
        each = inputs if isinstance(inputs, list | tuple) else [inputs]
        given = {} if isinstance(inputs, dict) else dict(zip(self._names(), each, strict=False))
        if len(given) < len(each) and not isinstance(inputs, dict):
            raise TypeError(
                f"expected at most {', '.join(self._names())} for {type(self.loss).__name__}; "
                f"received {len(each)} inputs; give the others in a dict, by name"
            )
        told = {
            "sample_weight": sample_weight,
            "candidate_sampling_probability": candidate_sampling_probability,
            "candidate_ids": candidate_ids,
        }
        given |= inputs if isinstance(inputs, dict) else {}
        given |= {name: x for name, x in told.items() if x is not None}
        values = {
            name: keras.ops.exp(x) if name == "temperature" else x
            for name, x in self._learned.items()
        }
        if self.proxies is not None:
            values["proxies"] = self.proxies
        rows = everybodys(retrieval_names(type(self.loss).__name__, given))
        self.add_loss(self.loss(**rows, **values))
        return inputs

    def _names(self) -> list[str]:
        """Of the inputs in call order."""
        held = () if self.proxies is None else ("proxies",)
        return [name for name in self.loss.inputs if name not in held]

    def compute_output_spec(self, inputs: Any, **named: Any) -> Any:
        """As the inputs; JAX could not trace the loss of an unknown batch to find out."""
        return keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), inputs)

    @property
    def temperature(self) -> float | None:
        """The temperature in use; None for a loss without one."""
        if "temperature" in self._learned:
            return float(keras.ops.exp(self._learned["temperature"]))
        fixed: float | None = self.loss.stated("temperature")
        return fixed

    def get_config(self) -> dict[str, Any]:
        config: dict[str, Any] = super().get_config()
        own = {
            "loss": self.loss.to_dict(),
            "learn_temperature": self.learn_temperature,
            "proxies": None if self.proxies is None else list(self.proxies.shape),
        }
        return config | own

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config | {"loss": loss_from_dict(config["loss"])})


@keras.saving.register_keras_serializable(package="nearfar")
class _AtLeast(keras.constraints.Constraint):  # type: ignore[misc]
    """Holds a logarithm of a temperature where the temperature is at least `LEAST`."""

    def __call__(self, w: Any) -> Any:
        return keras.ops.maximum(w, math.log(LEAST))
