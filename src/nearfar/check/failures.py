"""What to say of a target that gave no number in any form."""

import re

from nearfar.check.finding import FAULT, Finding

# As Python words a wrong number of arguments, and as an array in a number's place is told.
_ARITY = ("positional argument", "multiple values for argument", "would be the argument")
_MISSING = re.compile(r"missing (\d+) required (?:positional|keyword-only) arguments?: (.*)")


def failed(failures: list[tuple[str, str]]) -> list[Finding]:
    """One line for each way of failing, with the forms it came in.

    What does not take so many arguments says nothing where another form came further; where none
    did, the form that lacks fewest is the one that was meant.
    """
    grouped: dict[str, tuple[str, list[str]]] = {}
    for form, text in failures:
        # Alike but for sizes and names of dtypes.
        _, forms = grouped.setdefault(re.sub(r"[\d(),]+|float\d+", "#", text), (text, []))
        if form not in forms:
            forms.append(form)
    lines = list(grouped.values())
    further = [line for line in lines if not _is_arity(line[0])]
    missing = sorted((_count(line[0]), k) for k, line in enumerate(lines) if _count(line[0]))
    if not further and missing:
        text, forms = lines[missing[0][1]]
        found = _MISSING.search(text)
        assert found is not None
        names = re.findall(r"'([^']+)'", found.group(2))
        settings = " ".join(f"--set {name}=VALUE" for name in names)
        text = f"called as {', '.join(forms)}: {text}; pass what is no array with {settings}"
        return [Finding("run", FAULT, text)]
    return [
        Finding("run", FAULT, f"called as {', '.join(forms)}: {text}")
        for text, forms in further or lines
    ]


def _is_arity(text: str) -> bool:
    return any(word in text for word in _ARITY) or _count(text) > 0


def _count(text: str) -> int:
    found = _MISSING.search(text)
    return int(found.group(1)) if found else 0
