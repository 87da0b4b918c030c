"""Takes keys and bearer tokens out of text that goes to logs, error reports and audit rows.

What is left of a key is its public id, by which it can be found and revoked.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from . import token

__all__ = ["REDACTED", "redact"]

#: What stands where a key or a token was.
REDACTED: Final = "[redacted]"

# Of whatever site and however little of its secret: a log may have cut it off.
_KEY = re.compile(
    rf"([A-Za-z][A-Za-z0-9]{{1,15}}_(?:pat|key)_[0-9a-z]{{{token.ID_LENGTH}}}_)[0-9A-Za-z]+",
    re.ASCII,
)
# RFC 6750 section 2.1; words of a sentence are shorter. Not what is left of a key.
_BEARER = re.compile(r"(\bbearer[ :=]+)[A-Za-z0-9\-._~+/]{16,}+=*+(?!\[)", re.ASCII | re.IGNORECASE)
# What a predecessor of this app had in its header, and Basic: a word with a digit in it.
_FORMER = re.compile(
    r"(\b(?:token|(?:x-)?api-key|basic)['\"]?[ :=]+['\"]?)(?=[^\s'\"]*[0-9])"
    r"[A-Za-z0-9\-._~+/]{16,}+=*+",
    re.ASCII | re.IGNORECASE,
)
# A secret that was taken out of its key, with or without its checksum.
_SECRET = re.compile(
    rf"(?<![0-9A-Za-z])[0-9A-Za-z]{{{token.SECRET_LENGTH}}}"
    rf"(?:[0-9A-Za-z]{{{token.CHECKSUM_LENGTH}}})?(?![0-9A-Za-z])",
    re.ASCII,
)


def redact(text: str) -> str:
    """``text`` without the secret of any key, and without bearer tokens."""
    lowered = text.lower()
    if "token" in lowered or "api-key" in lowered or "basic" in lowered:
        text = _FORMER.sub(rf"\1{REDACTED}", text)
    if "_" not in text and "bearer" not in lowered:
        return text
    return _BEARER.sub(rf"\1{REDACTED}", _KEY.sub(rf"\1{REDACTED}", text))


def redact_strictly(text: str) -> str:
    """As ``redact``, and without whatever has the length of a secret alone."""
    return _SECRET.sub(REDACTED, redact(text))


def redact_value(value: Any, depth: int = 8) -> Any:
    """``value`` with all text in it redacted; what is not text stays as it is."""
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
    except Exception:  # noqa: BLE001 - whatever a stranger's __str__ raises
        return value
    return value if (clean := redact(text)) == text else clean
