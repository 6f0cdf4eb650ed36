"""Text as it is in Markdown: signs that mean something there stand for themselves."""


def escaped(text: str) -> str:
    """On one line, for a sentence or a cell of a table; what stands in backticks stays code."""
    pieces = text.replace("\n", " ").split("`")
    for k in range(0, len(pieces), 2):
        for sign in "|*_<":
            pieces[k] = pieces[k].replace(sign, f"\\{sign}")
    return "`".join(pieces)
