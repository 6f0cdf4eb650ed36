"""The pages of losses in Chinese: the words of zh.toml around what the loss says of itself."""

import tomllib
from pathlib import Path

from website import implementations, losspage

_WORDS = tomllib.loads((Path(__file__).parent / "zh.toml").read_text(encoding="utf8"))


def pages() -> dict[str, str]:
    """Markdown by path, of the losses whose words are there."""
    losses = losspage.losses()
    made = {f"zh/losses/{name.lower()}.md": _page(losses[name]) for name in _known()}
    return {"zh/losses/index.md": _overview()} | made


def _known() -> list[str]:
    return [name for name in losspage.losses() if name in _WORDS["losses"]]


def _page(cls: type) -> str:
    name, loss, words = cls.__name__, cls(), _WORDS["losses"][cls.__name__]
    return "\n\n".join(
        [
            f"# {name}",
            f"[English](../../losses/{name.lower()}.md)",
            words["summary"],
            f"$${losspage.FORMULAS[name].strip()}$$",
            f"**何时使用。** {words['use']}",
            f"**调用。** `loss({', '.join(loss.inputs)})`",
            losspage.tabs(cls),
            f"**取值范围。** {words['range']}",
            "## 字段",
            _fields(loss),
            "## 谁拉近谁，谁推开谁",
            f"![一个小批次的锚点与候选](../../losses/{name.lower()}.svg)",
            "一个小批次：纵向是锚点，横向是候选。蓝色是锚点的正样本，橙色是负样本，灰色不作比较；右侧的条是每个锚点在"
            "梯度中所占的份额。`loss.explain(...).plot()` 画出你自己的批次。",
            "## 与它相等的公开实现",
            _equal(cls),
        ]
    )


def _fields(loss: object) -> str:
    rows = ["| 字段 | 默认值 | 含义 |", "|---|---|---|"]
    for name, value in loss.to_dict().items():
        if name != "loss":
            rows.append(f"| `{name}` | `{value!r}` | {_WORDS['fields'].get(name, '')} |")
    return "\n".join(rows)


def _equal(cls: type) -> str:
    rows = losspage.equal(cls)
    if not rows:
        return "没有记录。"
    lines = ["| 实现 | 等于 |", "|---|---|"]
    for row in rows:
        where = implementations.link(row, "../../implementations/")
        lines.append(f"| {where} | `{row.loss!r}` |")
    return "\n".join(lines)


def _overview() -> str:
    rows = ["| 损失 | 含义 | 何时使用 |", "|---|---|---|"]
    for name in _known():
        words = _WORDS["losses"][name]
        rows.append(f"| [{name}]({name.lower()}.md) | {words['summary']} | {words['use']} |")
    pages = "\n".join(name.lower() for name in _known())
    return (
        "# 损失\n\n"
        + "\n".join(rows)
        + "\n\n全部损失：[English](../../losses/index.md)"
        + f"\n\n```{{toctree}}\n:hidden:\n{pages}\n```"
    )
