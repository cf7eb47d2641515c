"""SVG as text: elements, numbers, and user text that can never become markup."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

# What XML 1.0 cannot hold, not even as a reference, and the directional marks that reorder what stands beside them.
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]")

FONT = "'Helvetica Neue', Helvetica, Arial, 'Liberation Sans', sans-serif"
_ADVANCE = 0.61
# Widths in ems of DejaVu Sans, the widest of the usual fallbacks: what fits in it fits in Helvetica and Arial.
_NARROW = dict.fromkeys("iljtfrI.,:;'|!()[]{}/ -·", 0.41)
_WIDE = dict.fromkeys("mwMW@%—…→×≥≤∂⊙∥", 0.99) | dict.fromkeys("ABCDEGHKNOPQRSUVXYZ&+=<>#~^−", 0.8)
_ADVANCES = _NARROW | _WIDE
_BOLD = 1.13
_FULL_WIDTH_FROM = 0x1100  # Hangul, CJK, emoji: a letter as wide as high


def clean(text: str) -> str:
    """Return ``text`` without what XML cannot hold or what would reorder its surroundings."""
    return _UNFIT.sub("\ufffd", text)


def text_of(text: str) -> str:
    """Return ``text`` as character data."""
    return escape(clean(text))


def element(name: str, attributes: Mapping[str, object], *content: str) -> str:
    """Return one element; ``content`` is markup already, attributes are plain text. None leaves an attribute out."""
    given = "".join(f" {key}={quoteattr(_plain(value))}" for key, value in attributes.items() if value is not None)
    return f"<{name}{given}>{''.join(content)}</{name}>" if content else f"<{name}{given}/>"


def number(value: float) -> str:
    """Return a coordinate with at most two decimals and no negative zero: the same text on every machine."""
    short = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return how wide ``text`` is at most, in the units of the font's ``size``."""
    return size * sum(_advance(letter) for letter in text) * (_BOLD if bold else 1)


def _advance(letter: str) -> float:
    if ord(letter) >= _FULL_WIDTH_FROM and letter not in _ADVANCES:
        return 1.05
    return _ADVANCES.get(letter, _ADVANCE)


def _plain(value: object) -> str:
    return number(value) if isinstance(value, float) else clean(str(value))
