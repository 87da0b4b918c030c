"""Check the characters of a name, because people compare names by eye.

Pure Python without settings or database.
"""

import unicodedata
from typing import Final

#: Letters and symbols that draw nothing: Hangul fillers, the blank Braille pattern, a null note.
BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")
#: Characters with Unicode's ``Bidi_Control`` property, which change the order of displayed text.
BIDI_CONTROLS: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def is_visible(text: str) -> bool:
    """Return whether ``text`` has a visible letter, digit or symbol."""
    return any(unicodedata.category(c)[0] in "LNPS" and c not in BLANK for c in text)


def turns_direction(text: str) -> bool:
    """Return whether ``text`` has a character that changes the text direction."""
    return not BIDI_CONTROLS.isdisjoint(text)


def is_readable(text: str) -> bool:
    """Return whether ``text`` is visible and displayed in its own order."""
    return is_visible(text) and not turns_direction(text)
