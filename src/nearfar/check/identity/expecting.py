"""What a target is expected to be, and how what it is differs from that."""

import ast
from dataclasses import dataclass, fields, replace
from typing import Any

from nearfar.check.identity.identify import Identity
from nearfar.check.target.targets import BadRequest
from nearfar.losses import DCL, HCL, LOSSES, Loss, NTXent, key_of
from nearfar.presets import preset, table


@dataclass(frozen=True)
class Expected:
    """A loss whose numbers are free where nobody named them, and what the form leaves open."""

    loss: Loss
    free: frozenset[str]

    def matches(self, found: Loss) -> bool:
        own = canonical(found)
        return canonical(self._filled(own)) == own

    def _filled(self, found: Loss) -> Loss:
        """With what is free as it was found."""
        if type(found) is not type(canonical(self.loss)):
            return self.loss
        names = {f.name for f in fields(self.loss)} & {f.name for f in fields(found)}
        taken: dict[str, Any] = {n: getattr(found, n) for n in self.free & names}
        return replace(self.loss, **taken)


def read_expected(text: str) -> Expected:
    """A name of a loss, with fields or without."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else None
        name = ast.unparse(call.func) if call else text.strip()
        named = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords} if call else {}
    except (SyntaxError, ValueError):
        name, named, call = text.strip(), {}, None
    cls = LOSSES.get(key_of(name))
    if cls is None and text.strip().lower() in (row.name.lower() for row in table()):
        return _preset(text.strip())
    if cls is None or (call is not None and call.args):
        known = ", ".join(sorted(c.__name__ for c in LOSSES.values()))
        raise BadRequest(
            f"expected a loss such as SupCon or SupCon(average='pairs'), one of {known}, or a "
            f"name that nearfar presets lists; received {text!r}"
        )
    try:
        loss = cls(**named)
    except TypeError as error:
        raise BadRequest(f"{text!r}: {error}; nearfar losses {name} shows its fields") from error
    return Expected(loss, _numbers(loss) - {"scale", *named})


def _preset(name: str) -> Expected:
    try:
        loss = preset(name)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    return Expected(loss, _numbers(loss) - {"scale"})


def _numbers(loss: Loss) -> frozenset[str]:
    return frozenset(f.name for f in fields(loss) if "number" in f.metadata)


def canonical(loss: Loss) -> Loss:
    """One name for what is the same under several."""
    if isinstance(loss, DCL):
        own = {f.name: getattr(loss, f.name) for f in fields(loss)}
        return NTXent(**own, denominator="negatives")
    if isinstance(loss, HCL) and loss.tau_plus == 0 and loss.beta == 0:
        return NTXent(temperature=loss.temperature, similarity=loss.similarity, scale=loss.scale,
                      reduction=loss.reduction)  # fmt: skip
    if isinstance(loss, NTXent) and loss.denominator == "own_positive":
        return replace(loss, denominator="all")
    if loss.stated("distance") == "minkowski":
        changed: Any = {"distance": "euclidean"}
        return replace(loss, **changed)
    return loss


def compare(identity: Identity, expected: Expected) -> tuple[bool, tuple[str, ...]]:
    """Whether it is; and what would make it so."""
    if identity.statement is None or not identity.sure:
        return False, ()
    expected = replace(expected, free=expected.free | identity.indifferent)
    found = identity.exact
    if found is not None and not identity.statement.swapped and expected.matches(found):
        return True, ()
    return False, tuple(_differences(identity, expected))


def _differences(identity: Identity, expected: Expected) -> list[str]:
    assert identity.statement is not None
    own, wanted = canonical(identity.statement.loss), canonical(expected.loss)
    if type(own) is not type(wanted):
        return [f"another loss: {own} instead of {wanted}"]
    found = []
    for field in fields(wanted):
        is_, should = getattr(own, field.name), getattr(wanted, field.name)
        if is_ == should or field.name in expected.free:
            continue
        if field.name == "scale":
            found.append(f"divide by {is_ / should:.6g}")
        else:
            found.append(f"{field.name} is {is_!r}, expected {should!r}")
    if identity.statement.swapped:
        found.append("call it with the inputs swapped")
    return [*found, *(f"undo: {change}" for change in identity.statement.changes)]
