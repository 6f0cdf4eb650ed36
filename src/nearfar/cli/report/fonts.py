"""Fonts that have the characters of the data: class names may be in any script."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from matplotlib import font_manager

_DEFAULT = "DejaVu Sans"  # matplotlib brings it along


def families_for(text: str) -> tuple[list[str], str]:
    """Choose families that together have the characters; and give those that none has.

    Matplotlib takes a character from the first family that has it.
    """
    families = [_DEFAULT]
    missing = _printed(text) - _characters(font_manager.findfont(_DEFAULT))
    if missing:
        for family, path in _installed():
            found = missing & _characters(path)
            if found:
                families.append(family)
                missing -= found
            if not missing:
                break
    return families, "".join(sorted(missing))


def _printed(text: str) -> set[str]:
    return {character for character in text if character.isprintable() and not character.isspace()}


def _characters(path: str | Path) -> set[str]:
    return {chr(code) for code in font_manager.get_font(path).get_charmap()}


def _installed() -> Iterable[tuple[str, str]]:
    """Families with a file of each; last those found after Matplotlib made the list it keeps."""
    listed = font_manager.fontManager.ttflist
    known = [*listed]
    yield from _upright_first(known)
    for path in sorted(set(font_manager.findSystemFonts()) - {font.fname for font in known}):
        with suppress(OSError, RuntimeError):  # what is no font is of no use here
            font_manager.fontManager.addfont(path)
    yield from _upright_first([font for font in listed if font not in known])


def _upright_first(fonts: list[font_manager.FontEntry]) -> Iterable[tuple[str, str]]:
    """Families with a file of each, upright ones of normal weight first, sans before others."""

    def order(font: font_manager.FontEntry) -> tuple[bool, bool, bool, str]:
        regular = str(font.weight) in ("400", "normal", "regular", "book")
        return font.style != "normal", not regular, "Sans" not in font.name, font.name

    seen = set()
    for font in sorted(fonts, key=order):
        if font.name not in seen and "Last Resort" not in font.name:  # it has boxes for all
            seen.add(font.name)
            yield font.name, font.fname
