"""How the files of the library stand to each other; import-linter holds the order of the rooms."""

import ast
import re
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
FILES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((SRC / "nearfar").rglob("*.py"))
}
ROOMS = sorted({name.split(".")[1] for name in FILES if name.count(".") > 1})


def imported(name: str, path: Path) -> set[str]:
    """Files that one imports anywhere, in functions and for types as well."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: expected absolute imports"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in FILES else node.module)
    return {target for target in found if target in FILES and target != name}


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Files each of which imports the next, the last one the first; none without a circle."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for target in sorted(arrows[name]):
            if found := walk(target, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := walk(name, []))), [])


@pytest.mark.parametrize("room", ROOMS)
def test_no_circle_of_files_in_a_room(room):
    """A circle cannot be read from below, and hides from import-linter inside a function."""
    own = [name for name in FILES if name.split(".")[1:2] == [room]]
    arrows = {name: imported(name, FILES[name]) & {*own} for name in own}
    assert not circle(arrows), " -> ".join(circle(arrows))


def test_circles_are_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_only_losses_ask_what_kind_a_loss_is_by_its_parts():
    """Others ask `isinstance(loss, family)`, `loss.stated(field)` or `loss.declarations`."""
    probe = re.compile(r"hasattr\(loss\b|loss\.inputs ==")
    found = [
        f"{path.relative_to(SRC)}:{number}: {line.strip()}"
        for name, path in FILES.items()
        if not name.startswith("nearfar.losses")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if probe.search(line)
    ]
    assert not found, "\n".join(found)
