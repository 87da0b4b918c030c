"""Compose and parse the text of a key: ``<prefix>_<kind>_<id>_<secret><checksum>``.

Pure Python, without settings and database. The regular expression for secret scanners is
``<prefix>_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}``. It has no capturing group, because scanners
treat the first group as the secret.
"""

import hashlib
import re
import secrets
import string
import zlib
from functools import lru_cache
from typing import Any, Final, NamedTuple

__all__ = ["KEY", "PAT", "Parsed", "generate_id", "looks_like_key", "parse"]

#: The kinds in the text of a personal access token and of a project key.
PAT: Final = "pat"
KEY: Final = "key"
#: The word for each kind in JSON and in ``Access.kind``.
KIND_NAMES: Final = {PAT: "personal_access_token", KEY: "project_key"}
KINDS: Final = tuple(KIND_NAMES)
KIND_PATTERN: Final = rf"(?:{'|'.join(KINDS)})"

ID_LENGTH: Final = 16
ID_PATTERN: Final = rf"[0-9a-z]{{{ID_LENGTH}}}"
SECRET_LENGTH: Final = 43  # 62**43 > 2**256
CHECKSUM_LENGTH: Final = 6  # 62**6 > 2**32

PREFIX_PATTERN: Final = r"[a-z][a-z0-9]{1,15}"
#: Matches the part between the prefix and the secret.
MIDDLE_PATTERN: Final = rf"_{KIND_PATTERN}_{ID_PATTERN}_"

_ID_ALPHABET = string.digits + string.ascii_lowercase
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PAIRS = [high + low for high in _BASE62 for low in _BASE62]
_SHAPE = re.compile(
    rf"({PREFIX_PATTERN})_({KIND_PATTERN})_({ID_PATTERN})_"
    rf"([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})",
    re.ASCII,
)
_ID = re.compile(ID_PATTERN, re.ASCII)
_IN_TEXT = re.compile(rf"{MIDDLE_PATTERN}[0-9A-Za-z]{{20}}", re.ASCII)
# Logs and documentation show one of these in place of a secret.
_LEFT_OUT = r"(?:\[redacted\]|…|\.{3})"
_START = re.compile(rf"{MIDDLE_PATTERN}(?!{_LEFT_OUT}(?:\s|$)).", re.ASCII)
# An ID or the start of one. An underscore may follow, but no part of the secret.
_PREFIXED = re.compile(
    rf"{PREFIX_PATTERN}_{KIND_PATTERN}_([0-9a-z]{{1,{ID_LENGTH}}})(?:_{_LEFT_OUT}?|…|\.{{3}})?",
    re.ASCII,
)
_BEGINNING = re.compile(rf"[0-9a-z]{{4,{ID_LENGTH}}}", re.ASCII)
_SECRET = re.compile(rf"[0-9A-Za-z]{{{SECRET_LENGTH}}}", re.ASCII)


class Parsed(NamedTuple):
    """The parts of a well-formed key. ``repr`` omits the secret."""

    prefix: str
    kind: str
    public_id: str
    secret: str

    def __repr__(self) -> str:
        return f"<Parsed {self.prefix}_{self.kind}_{self.public_id}>"


def checksum(text: str) -> str:
    """Return the CRC-32 of ``text`` in base62: six characters, most significant first."""
    number = zlib.crc32(text.encode("ascii"))
    return _PAIRS[number // 62**4] + _PAIRS[number // 62**2 % 62**2] + _PAIRS[number % 62**2]


def generate_id() -> str:
    """Return a new random ID: 16 characters of ``[0-9a-z]``."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(ID_LENGTH))


def derived_id(text: str) -> str:
    """Return the ID that stands for ``text``, such as a client ID: the same at each call."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest())
    digits = []
    for _ in range(ID_LENGTH):
        number, digit = divmod(number, len(_ID_ALPHABET))
        digits.append(_ID_ALPHABET[digit])
    return "".join(digits)


@lru_cache(maxsize=10_000)  # computed at each request with a token
def grant_id(client_pk: Any, user_pk: Any) -> str:
    """Return the ID of what a user granted to an OAuth client, by their primary keys.

    ``user_pk`` is ``None`` for a client that acts for itself. The tokens of a client are replaced
    every few minutes, and this ID is not.
    """
    return derived_id(f"grant {client_pk} {'' if user_pk is None else user_pk}")


def is_id(text: str) -> bool:
    """Return whether ``text`` has the form of an ID."""
    return _ID.fullmatch(text) is not None


def begins_id(text: str) -> bool:
    """Return whether ``text`` is an ID, or at least the first four characters of one."""
    return _BEGINNING.fullmatch(text) is not None


def without_prefix(text: str) -> str:
    """Return the ID, or the start of one, in ``text`` that a user entered to find a key.

    ``acme_pat_zejlosc9kd96fngc`` becomes ``zejlosc9kd96fngc``, with the prefix of any site. So
    does ``acme_pat_zejlosc9kd96fngc_[redacted]``, as a log shows it. Other text is returned in
    lower case, without spaces around it.
    """
    text = text.strip().lower()
    match = _PREFIXED.fullmatch(text)
    return text if match is None else match[1]


def generate_secret() -> str:
    """Return a new random secret: 43 characters of ``[0-9A-Za-z]`` (256 bits)."""
    return "".join(secrets.choice(_BASE62) for _ in range(SECRET_LENGTH))


def compose(prefix: str, kind: str, public_id: str, secret: str) -> str:
    """Return the whole text of a key, with its checksum."""
    body = f"{prefix}_{kind}_{public_id}_{secret}"
    return body + checksum(body)


def parse(text: str, prefix: str) -> Parsed | None:
    """Parse a key; return ``None`` if ``text`` is not a well-formed key of this site.

    Also return ``None`` for a wrong checksum, so that a typo costs no query.
    """
    if (match := _SHAPE.fullmatch(text)) is None:
        return None
    own_prefix, kind, public_id, secret, its_checksum = match.groups()
    if own_prefix != prefix or checksum(text[:-CHECKSUM_LENGTH]) != its_checksum:
        return None
    return Parsed(own_prefix, kind, public_id, secret)


def looks_like_key(text: str, prefix: str) -> bool:
    """Return whether ``text`` begins like a key of this site, well-formed or not."""
    return text.startswith((f"{prefix}_pat_", f"{prefix}_key_"))


def holds_key(text: str) -> bool:
    """Return whether ``text`` contains a key of any site, or a large part of one."""
    return _IN_TEXT.search(text) is not None


def holds_start(text: str) -> bool:
    """Return whether ``text`` contains a key, or the start of one with a part of its secret."""
    return _START.search(text) is not None


def holds_secret(text: str) -> bool:
    """Return whether ``text``, which should be an ID, contains a part of a secret."""
    return holds_start(text) or _SECRET.search(text) is not None
