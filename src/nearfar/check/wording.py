"""A report in words: one sentence first, then what differs, what is unsafe, the equal call."""

from nearfar.check.found import Found
from nearfar.check.identity.identify import Identity

Line = tuple[str, str]


def in_one_sentence(report: Found) -> str:
    """What it is and whether that is right and safe."""
    if not report.ran:
        return f"It could not be run: {report.findings[0].text if report.findings else 'no call'}."
    what = _what(report)
    if report.as_expected is not None:
        is_ = "is" if report.as_expected else "is not"
        what += f", which {is_} the expected {report.expected}"
    faults = len(report.faults)
    if faults:
        return f"{what}, and it is unsafe: {faults} fault{'s' * (faults > 1)}."
    if not (report.gradient or report.stability or report.cost):
        return f"{what}."  # whether it is sound was not asked
    return f"{what}, and {'sound' if report.right else 'no fault was found'}."


def _what(report: Found) -> str:
    identity = report.identity
    if identity is None or identity.statement is None:
        if identity is None or not identity.batches:
            return "It is not known what it is: too few batches gave a number"
        near = f"; {identity.nearest[0][0]} is near" if identity.nearest else ""
        return f"It is no loss that nearfar knows{near}"
    statement = identity.statement
    name = str(statement.loss) + (" called as (b, a)" if statement.swapped else "")
    if not identity.sure:
        others = len(identity.rivals)
        return (
            f"It may be {name}, or {'one of ' * (others > 1)}{others} that cannot be told from it"
        )
    if statement.changes:
        return f"It is {name}, {_but(statement.changes)}"
    if identity.small:
        return f"It is {name}, but for something small that is added"
    return f"It is {name}"


def _but(changes: tuple[str, ...]) -> str:
    if len(changes) == 1:
        return f"but {changes[0]}"
    return f"but {changes[0]}, and {len(changes) - 1} more that differ{'s' * (len(changes) == 2)}"


def in_sections(report: Found) -> list[tuple[str, list[Line]]]:
    """Headings with their lines, the answer first; those without any line are left out."""
    identity = report.identity
    found: list[tuple[str, list[Line]]] = [
        (in_one_sentence(report), []),
        ("Differs", _differs(report)),
        ("Unsafe", [(f.part, f.text) for f in report.faults] if report.ran else []),
        ("Equal call", [("", report.equal_call)] if report.equal_call else []),
        ("Target", _target(report)),
    ]
    if report.ran and identity is not None:
        found.append(("Identity", _identity(report, identity)))
    for heading, facts in (
        ("Gradient", report.gradient), ("Stability", report.stability), ("Cost", report.cost),
    ):  # fmt: skip
        if facts:
            found.append((heading, list(facts["lines"])))
    if not report.ran:
        found.append(("Tried", [("", f.text) for f in report.faults]))
    found.append(("Notes", [(f.part, f.text) for f in report.notes]))
    return [found[0], *(section for section in found[1:] if section[1])]


def _differs(report: Found) -> list[Line]:
    lines: list[Line] = []
    identity = report.identity
    if identity is not None and identity.statement is not None:
        statement = identity.statement
        lines += [("but", change) for change in statement.changes]
        said = [r for r in statement.remarks() if r not in statement.changes]
        lines += [("that is", remark) for remark in said]
        if identity.small:
            lines.append(("but", _small(identity)))
    return lines + [("to expected", text) for text in report.differences]


def _small(identity: Identity) -> str:
    return (
        f"something small is added: values differ by up to {identity.deviation:.1g} of "
        "themselves (an epsilon, a small term, or float32 inside)"
    )


def _target(report: Found) -> list[Line]:
    lines = [("", report.target)]
    if report.call:
        lines.append(("called as", report.call))
    if report.framework:
        lines.append(("framework", f"{report.framework}, {report.dtype}"))
    return lines


def _identity(report: Found, found: Identity) -> list[Line]:
    if found.statement is None:
        if not found.batches:
            return [("equals", "unknown: too few batches gave a number")]
        near = [("nearest", f"{text}; off by {100 * off:.2g} %") for text, off in found.nearest]
        return [("equals", "no loss in the space of conventions that was searched"), *near]
    swapped = ", called as (b, a)" if found.statement.swapped else ""
    word = "may be" if not found.sure else "is" if found.statement.changes else "equals"
    lines = [(word, str(found.statement.loss) + swapped)]
    lines += [("or", rival) for rival in found.rivals]
    for k, name in enumerate(report.implementations):
        lines.append(("the same" if k == 0 else "", name))
    return [*lines, ("how sure", _evidence(found))]


def _evidence(found: Identity) -> str:
    fixed = "; its temperature or margin is a constant of the code" if found.fixed else ""
    apart = (
        "these batches cannot tell the above apart"
        if found.rivals
        else "no other convention of the space agrees"
    )
    return (
        f"{found.values} values on {found.batches} batches, {found.held_back} of them held "
        f"back, agree to {found.deviation:.0e} (limit {found.tolerance:.0e}); {apart}{fixed}"
    )
