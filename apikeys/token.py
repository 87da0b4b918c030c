"""The text of a key: ``<prefix>_<kind>_<id>_<secret><checksum>``.

Pure Python; knows no setting and no database. The regular expression that secret
scanners need is ``<prefix>_(pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}``.
"""

import re
import secrets
import string
import zlib
from typing import Final, NamedTuple

__all__ = ["KEY", "PAT", "Parsed", "generate_id", "looks_like_key", "parse"]

#: The two kinds: of a personal access token, and of a project key.
PAT: Final = "pat"
KEY: Final = "key"
KINDS: Final = (PAT, KEY)

ID_LENGTH: Final = 16
SECRET_LENGTH: Final = 43  # 62**43 > 2**256
CHECKSUM_LENGTH: Final = 6  # 62**6 > 2**32

PREFIX_PATTERN: Final = r"[a-z][a-z0-9]{1,15}"

_ID_ALPHABET = string.digits + string.ascii_lowercase
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PAIRS = [high + low for high in _BASE62 for low in _BASE62]
_SHAPE = re.compile(
    rf"({PREFIX_PATTERN})_(pat|key)_([0-9a-z]{{{ID_LENGTH}}})_"
    rf"([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})",
    re.ASCII,
)
_IN_TEXT = re.compile(rf"_(pat|key)_[0-9a-z]{{{ID_LENGTH}}}_[0-9A-Za-z]{{20}}", re.ASCII)
_IN_PLACE_OF_ID = re.compile(
    rf"_(pat|key)_[0-9a-z]{{{ID_LENGTH}}}_.|[0-9A-Za-z]{{{SECRET_LENGTH}}}", re.ASCII
)


class Parsed(NamedTuple):
    """A well-formed key taken apart. ``repr`` leaves the secret out."""

    prefix: str
    kind: str
    public_id: str
    secret: str

    def __repr__(self) -> str:
        return f"<Parsed {self.prefix}_{self.kind}_{self.public_id}>"


def checksum(text: str) -> str:
    """CRC-32 of ``text`` in base62, six characters, most significant first."""
    number = zlib.crc32(text.encode("ascii"))
    return _PAIRS[number // 62**4] + _PAIRS[number // 62**2 % 62**2] + _PAIRS[number % 62**2]


def generate_id() -> str:
    """A new public id: 16 characters of ``[0-9a-z]``, at random."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(ID_LENGTH))


def generate_secret() -> str:
    return "".join(secrets.choice(_BASE62) for _ in range(SECRET_LENGTH))


def compose(prefix: str, kind: str, public_id: str, secret: str) -> str:
    """The whole key, as its holder gets to see it, once."""
    body = f"{prefix}_{kind}_{public_id}_{secret}"
    return body + checksum(body)


def parse(text: str, prefix: str) -> Parsed | None:
    """Take a key apart; ``None`` for whatever is not a key of this site.

    A wrong checksum is a typo, never a guess worth a query, so it is ``None`` too.
    """
    match = _SHAPE.fullmatch(text)
    if match is None or match[1] != prefix:
        return None
    if checksum(text[:-CHECKSUM_LENGTH]) != match[5]:
        return None
    return Parsed(match[1], match[2], match[3], match[4])


def looks_like_key(text: str, prefix: str) -> bool:
    """Whether ``text`` claims to be one of this site's keys, well-formed or not."""
    return text.startswith((f"{prefix}_pat_", f"{prefix}_key_"))


def holds_key(text: str) -> bool:
    """Whether somebody wrote a key into ``text``, whole or most of it, of whatever site."""
    return _IN_TEXT.search(text) is not None


def holds_secret(text: str) -> bool:
    """Whether ``text``, which was to name a key, gives away any of its secret."""
    return _IN_PLACE_OF_ID.search(text) is not None
