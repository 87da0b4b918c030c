"""Redact keys and bearer tokens in text for logs, error reports and the audit log.

The ID of a key stays visible, so that you can find and revoke it.
"""

import re
import string
from collections.abc import Mapping
from typing import Any, Final

from . import token

__all__ = ["REDACTED", "redact"]

#: Replaces a key or a token.
REDACTED: Final = "[redacted]"

#: Maximum number of characters to search. The rest of the text is redacted completely.
MOST: Final = 256 * 1024
#: Like ``MOST``, for a whole page of an error report.
MOST_OF_PAGE: Final = 16 * 1024 * 1024

# Each pattern runs in linear time: no two of its parts match the same run of characters, and
# possessive quantifiers prevent backtracking.

# A key of any site, with at least a part of its secret, because a log may have truncated it.
_KEY = re.compile(rf"(?<=[A-Za-z0-9])({token.MIDDLE_PATTERN})[0-9A-Za-z]++", re.ASCII)
# RFC 6750 section 2.1. Longer than words of a sentence, and not an already redacted key.
_BEARER = re.compile(
    r"(\bbearer[ :=]++)[A-Za-z0-9\-._~+/]{16,}+=*+(?!\[)", re.ASCII | re.IGNORECASE
)
# The schemes of other packages and Basic, before a value.
_FORMER = re.compile(
    r"\b(?:token|api-key|basic)['\"]?[ :=]++['\"]?",
    re.ASCII | re.IGNORECASE,
)
_VALUE = re.compile(r"[A-Za-z0-9\-._~+/]{16,}+=*+", re.ASCII)
_DIGIT = re.compile(r"[0-9]", re.ASCII)
_LETTERS: Final = string.ascii_letters + string.digits + "-._~+/="
# A secret without the rest of its key, with or without its checksum.
_SECRET = re.compile(
    rf"(?<![0-9A-Za-z])[0-9A-Za-z]{{{token.SECRET_LENGTH}}}"
    rf"(?:[0-9A-Za-z]{{{token.CHECKSUM_LENGTH}}})?(?![0-9A-Za-z])",
    re.ASCII,
)


def redact(text: str, most: int = MOST) -> str:
    """Return ``text`` without secrets of keys and without bearer tokens."""
    text, rest = _cut(text, most)
    return _redact(text) + rest


def redact_strictly(text: str, most: int = MOST) -> str:
    """Redact like ``redact``, and also everything that has the length of a secret."""
    text, rest = _cut(text, most)
    return _SECRET.sub(REDACTED, _redact(text)) + rest


def _cut(text: str, most: int) -> tuple[str, str]:
    """Return the part of ``text`` to search, and the replacement of the rest."""
    if len(text) <= most:
        return text, ""
    head = text[:most].rstrip(_LETTERS)  # half of a secret may not look like one
    return head, f"{REDACTED} ({len(text) - len(head)} characters)"


def _redact(text: str) -> str:
    lowered = text.lower()
    if "token" in lowered or "api-key" in lowered or "basic" in lowered:
        text = _redact_former(text)
    if "_" not in text and "bearer" not in lowered:
        return text
    return _BEARER.sub(rf"\1{REDACTED}", _KEY.sub(rf"\1{REDACTED}", text))


def _redact_former(text: str) -> str:
    """Redact each value with a digit after the scheme of another package."""
    parts, end = [], 0
    for name in _FORMER.finditer(text):
        value = _VALUE.match(text, name.end())
        if value is not None and _DIGIT.search(value[0]):
            parts += [text[end : value.start()], REDACTED]
            end = value.end()
    return "".join([*parts, text[end:]])


def redact_value(value: Any, depth: int = 8) -> Any:
    """Return ``value`` with all text in it redacted. Other values do not change."""
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray):
        text = value.decode("utf-8", "backslashreplace")
        return value if (clean := redact(text)) == text else clean.encode()
    if depth and isinstance(value, Mapping):
        return {redact_value(key, 0): redact_value(each, depth - 1) for key, each in value.items()}
    if depth and type(value) in (list, tuple, set, frozenset):
        return type(value)(redact_value(each, depth - 1) for each in value)
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - a foreign __str__ may raise anything
        return value
    return value if (clean := redact(text)) == text else clean
