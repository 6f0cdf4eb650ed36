"""llms.txt and a skill for assistants that write code: the same facts as the pages, in one read."""

from website import commands, losspage
from website.docstring import described

_RULES = """\
- A loss is a frozen object: `loss = nf.SupCon(temperature=0.1)`, then `loss(embeddings, labels)`.
- Embeddings are `(n, d)` arrays of NumPy, PyTorch, TensorFlow or JAX; the value is a scalar of the
  same framework, differentiable there. In NumPy use `loss.value_and_grad(...)`.
- `similarity="cosine"` (the default of most) normalises inside: do not normalise first.
- A temperature is learned by passing it at the call: `loss(x, y, temperature=t)`.
- Two views of a batch are two arguments (`NTXent`); rows with labels are one (`SupCon`). Views
  stacked as `(n, views, d)` go through `nf.flatten_views`.
- Losses of the same inputs add up: `nf.SupCon() + 0.5 * nf.SmoothAP()`; `nf.Matryoshka(loss)` takes
  prefixes of the features.
- Never build an n x n mask or matrix: batches of any size fit, `loss.with_options(memory=...)`.
- To reproduce another library use `nf.preset("PACKAGE/NAME")`; `nf.presets.describe(name)` says
  what differs there. To find out what a function computes run `nearfar check file.py:function`.
- `print(loss.explain(...))` says what is wrong with a batch: no positives, duplicates, collapse.
- In PyTorch models: `nearfar.torch.Loss`; in Keras: `nearfar.keras.Loss`; over processes:
  `nearfar.torch.distributed.Loss`; batches beyond memory: `nearfar.torch.cached_step`.
- Batches with labels need several rows of a class: `nf.samplers.ClassBalancedSampler`."""


def files() -> dict[str, str]:
    """What stands beside the pages of the site, by name."""
    return {"llms.txt": _llms(), "SKILL.md": _skill()}


def _llms() -> str:
    pages = {
        "Which loss for which data": "which-loss",
        "In a training loop": "training",
        "From another library": "from-another-library",
        "The command line": "command-line",
        "What does my loss compute": "check",
        "Numbers you can trust": "numbers",
        "Write a loss": "write-a-loss",
        "Many processes, large batches": "scaling",
        "On a GPU": "gpu",
        "Reference": "reference/index",
    }
    lines = [
        "# nearfar",
        "",
        "> Contrastive losses for NumPy, PyTorch, TensorFlow and JAX: every convention explicit, "
        "any batch size, exact.",
        "",
        _RULES,
        "",
        "## Pages",
        "",
        *(f"- [{title}]({path}.html)" for title, path in pages.items()),
        "",
        "## Losses",
        "",
        *_losses("losses/{}.html"),
        "",
        "## Commands",
        "",
        *_commands(),
        "",
    ]
    return "\n".join(lines)


def _skill() -> str:
    lines = [
        "---",
        "name: nearfar",
        "description: Choose, call and check contrastive losses (SimCLR, SupCon, CLIP, InfoNCE, "
        "triplets, regression) with nearfar in NumPy, PyTorch, TensorFlow or JAX.",
        "---",
        "",
        "# Contrastive losses with nearfar",
        "",
        "## Rules",
        "",
        _RULES,
        "",
        "## Which loss",
        "",
        *_losses(None),
        "",
        "## Commands",
        "",
        *_commands(),
        "",
        "## Example",
        "",
        "```python",
        "import torch",
        "",
        "import nearfar as nf",
        "",
        "loss = nf.SupCon(temperature=0.1)",
        "embeddings, labels = torch.randn(8, 16, requires_grad=True), torch.arange(8) % 4",
        "value = loss(embeddings, labels)",
        "value.backward()",
        "print(loss.explain(embeddings, labels))",
        "```",
        "",
    ]
    return "\n".join(lines)


def _losses(link: str | None) -> list[str]:
    lines = []
    for name, cls in losspage.every_loss().items():
        loss = losspage.shown(cls)
        inputs = ", ".join(f"{x}=None" if x in loss.optional else x for x in loss.inputs)
        code = repr(loss) if name in losspage.losses() else f"{name}, {losspage.written(cls)}"
        title = f"[{name}]({link.format(name.lower())})" if link else f"`{code}`"
        lines.append(f"- {title}: `loss({inputs})`. {' '.join(described(cls).summary.split())}")
    return lines


def _commands() -> list[str]:
    return [
        f"- `nearfar {name}`: {commands.first_sentence(command)}"
        for name, command in commands.all_of_them().items()
    ]
