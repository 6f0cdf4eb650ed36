"""What is measured: each loss by nearfar, by dense formulas, by bare products and by peers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import nearfar as nf
from benchmarks import floors, inputs, runs
from benchmarks.floors import Floor
from benchmarks.inputs import Arrays, Inputs
from benchmarks.runs import Run

NOTHING_KEPT = 4 * 2**20
"""`memory=` that holds buffers of full tiles and none of the tiles themselves."""
LEAN = ", no tiles kept"

_RUNS: dict[str, Callable[[Any, Arrays], Run]] = {
    "torch": runs.in_torch,
    "numpy": runs.in_numpy,
    "jax": runs.in_jax,
    "tensorflow": runs.in_tensorflow,
}
EAGER = ("torch", "numpy")


class Candidate(NamedTuple):
    inputs: Inputs
    run: Callable[[Arrays], Run]
    """Called in a process of its own: what it imports is loaded there only."""
    note: str = ""
    """Where it computes something else than the others."""


class Peer(NamedTuple):
    function: str
    """In the module of its framework in `benchmarks.peers`."""
    note: str = ""
    framework: str = "torch"


@dataclass(frozen=True, kw_only=True)
class Workload:
    inputs: Inputs
    loss: Callable[..., nf.Loss]
    parameters: dict[str, float]
    dense: str
    """The function in each module of `benchmarks.dense`."""
    floor: Floor
    peers: dict[str, Peer] = field(default_factory=dict)
    rows: int = 4096
    """Where all candidates are compared: of both views together, or of each tower."""
    compiled: tuple[str, ...] = ()
    """Frameworks that are measured as well, compiled."""
    closed: bool = False
    """Whether `benchmarks.dense.numpy` has it, value and gradient in closed form."""

    @property
    def candidates(self) -> dict[str, Candidate]:
        return dict([*self._ours(), *self._dense(), *self._peers(), *self._floors()])

    @property
    def truth(self) -> Candidate:
        """The dense formula in float64, which gradients are held against."""
        run = partial(_run_dense, "torch", self.dense, self.parameters)
        return Candidate(inputs.in_float64(self.inputs), run)

    def _ours(self) -> Iterator[tuple[str, Candidate]]:
        loss = self.loss(**self.parameters)
        for framework, run in _RUNS.items():
            if framework in (*EAGER, *self.compiled):
                yield f"nearfar, {framework}", Candidate(self.inputs, partial(run, loss))
        lean = loss.with_options(memory=NOTHING_KEPT)
        for framework in EAGER:
            name = f"nearfar, {framework}{LEAN}"
            yield name, Candidate(self.inputs, partial(_RUNS[framework], lean), "memory=4 MiB")

    def _dense(self) -> Iterator[tuple[str, Candidate]]:
        for framework in ("torch", *self.compiled, *["numpy"] * self.closed):
            run = partial(_run_dense, framework, self.dense, self.parameters)
            yield f"dense, {framework}", Candidate(self.inputs, run)

    def _peers(self) -> Iterator[tuple[str, Candidate]]:
        for name, peer in self.peers.items():
            run = partial(_run_peer, peer, self.parameters)
            yield name, Candidate(self.inputs, run, peer.note)

    def _floors(self) -> Iterator[tuple[str, Candidate]]:
        for kept in (True, False):
            for framework, run in (("torch", floors.in_torch), ("numpy", floors.in_numpy)):
                yield (
                    f"floor, {framework}{'' if kept else LEAN}",
                    Candidate(
                        lambda n: (inputs.rows(n),),
                        partial(run, self.floor, kept),
                        self.floor.said(kept),
                    ),
                )


def _run_dense(framework: str, function: str, parameters: dict[str, float], given: Arrays) -> Run:
    formula = getattr(import_module(f"benchmarks.dense.{framework}"), function)
    if framework == "numpy":
        return Run(lambda: list(formula(*given, **parameters)[1]))
    return _RUNS[framework](lambda *arrays: formula(*arrays, **parameters), given)


def _run_peer(peer: Peer, parameters: dict[str, float], given: Arrays) -> Run:
    make = getattr(import_module(f"benchmarks.peers.{peer.framework}"), peer.function)
    return _RUNS[peer.framework](make(**parameters), given)


_UNIT = "given unit rows, does not normalise"

WORKLOADS = {
    "NTXent": Workload(
        inputs=inputs.views,
        loss=nf.NTXent,
        parameters={"temperature": 0.1},
        dense="ntxent",
        floor=Floor(half=True, exponentials=1, sums=2, passes=2, gradients=2),
        peers={
            "lightly": Peer("lightly_ntxent"),
            "pytorch metric learning": Peer("pml_ntxent", "lists pairs beside pairs"),
            "optax": Peer("optax_ntxent", "general in labels; builds (n, n, d)", "jax"),
        },
        compiled=("jax", "tensorflow"),
        closed=True,
    ),
    "SupCon": Workload(
        inputs=inputs.classes,
        loss=nf.SupCon,
        parameters={"temperature": 0.1},
        dense="supcon",
        floor=Floor(half=True, exponentials=1, sums=2, passes=2, gradients=2),
        peers={
            "pytorch metric learning": Peer("pml_supcon"),
            "optax": Peer(
                "optax_supcon", "another loss: own_positive, mean over pairs; (n, n, d)", "jax"
            ),
        },
        compiled=("jax", "tensorflow"),
        closed=True,
    ),
    "own_positive": Workload(
        inputs=inputs.two_classes,
        loss=partial(nf.SupCon, denominator="own_positive"),
        parameters={"temperature": 0.1},
        dense="own_positive",
        floor=Floor(half=True, exponentials=2, sums=2, passes=8, gradients=2),
    ),
    "HCL": Workload(
        inputs=inputs.views,
        loss=nf.HCL,
        parameters={"temperature": 0.5, "tau_plus": 0.1, "beta": 1.0},
        dense="hcl",
        floor=Floor(half=True, exponentials=1, sums=4, passes=6, gradients=2),
    ),
    "CLIP": Workload(
        inputs=inputs.towers,
        loss=nf.CLIP,
        parameters={"temperature": 0.1},
        dense="clip",
        floor=Floor(half=False, exponentials=1, sums=2, passes=2, gradients=2),
        peers={
            "torch chunked": Peer("torch_chunked", _UNIT),
            "open_clip": Peer("open_clip", _UNIT),
            "sentence-transformers": Peer("st_symmetric"),
        },
        compiled=("jax",),
        closed=True,
    ),
    "SigLIP": Workload(
        inputs=inputs.towers,
        loss=nf.SigLIP,
        parameters={"temperature": 0.1, "bias": -10.0},
        dense="siglip",
        floor=Floor(half=False, exponentials=2, sums=1, passes=3, gradients=2, visits=1),
        peers={"open_clip": Peer("open_siglip", _UNIT)},
    ),
    "InfoNCE": Workload(
        inputs=inputs.towers,
        loss=nf.InfoNCE,
        parameters={"temperature": 0.1},
        dense="infonce",
        floor=Floor(half=False, exponentials=1, sums=1, passes=1, gradients=2, visits=1),
        peers={"info-nce-pytorch": Peer("info_nce")},
        compiled=("jax",),
        closed=True,
    ),
    "batch-hard": Workload(
        inputs=inputs.classes,
        loss=partial(nf.BatchTriplet, mining="hard"),
        parameters={"margin": 0.2},
        dense="batch_hard",
        # The nearest is sought along rows and along columns of a tile, whose squares tell it too.
        # Positives are eight rows of the same class, next to none of all pairs.
        floor=Floor(
            half=True, exponentials=0, sums=0, passes=0, gradients=0, visits=1, maxima=2, picks=2
        ),
        peers={
            "pytorch metric learning": Peer("pml_hard", "normalises"),
            "sentence-transformers": Peer("st_hard"),
        },
    ),
    "batch-all": Workload(
        inputs=inputs.classes,
        loss=partial(nf.BatchTriplet, mining="all"),
        parameters={"margin": 0.2},
        dense="batch_all",
        # Distances of positives are known first, so that a tile serves both ends of its pairs. Each
        # of seven positives is compared with a negative (a pass), counts those within reach (a
        # sum) and is added to what pulls that (a pass); how often each negative counts times its
        # distance is one sum more. All of that for either end. A tile's squares need roots, and
        # slopes are divided by distances.
        floor=Floor(half=True, exponentials=0, sums=16, passes=30, gradients=2, visits=1),
        peers={
            "pytorch metric learning": Peer("pml_all", "normalises"),
            "sentence-transformers": Peer("st_all"),
        },
        rows=1024,
    ),
    "SupCR": Workload(
        inputs=inputs.numbers,
        loss=nf.SupCR,
        parameters={"temperature": 2.0},
        dense="supcr",
        # A distance is the root of a square (a pass), of which there is an exponential; those of
        # one target add up (a sum), as do the positives' logits (a sum). A slope is an exponential
        # times what the order gave (a pass), less 1 (a pass), over the distance (a pass). A tile's
        # mirror image is of anchors whose order was not known together with it.
        floor=Floor(half=False, exponentials=1, sums=2, passes=4, gradients=2, visits=1, alike=2),
        peers={
            "authors' code": Peer("official_supcr"),
            "published way": Peer("published_supcr", "a loop over positives"),
        },
        rows=1024,
    ),
}
