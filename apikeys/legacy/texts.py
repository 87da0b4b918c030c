"""Find an imported key by its text, and check the text.

strong
    A random text that no one can guess. It is found by the start of its SHA-512, which reveals
    nothing. At its first use it gets a root and a digest like all other keys.
weak
    A text that someone could guess. It is found by its Argon2id hash, and no faster hash of it
    is stored.
"""

import binascii
import hashlib
import hmac
import math
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from argon2.low_level import Type, hash_secret
from django.contrib.auth.hashers import check_password, identify_hasher
from django.views.decorators.debug import sensitive_variables

from .. import hashing

#: Unsalted hexadecimal hashes that other packages store.
FAST: Final = (
    *("sha512", "sha256", "sha384", "sha224", "sha1", "md5"),
    *("sha3_512", "sha3_256", "sha3_384", "blake2b", "blake2s"),
)
_CANONICAL: Final = "sha512"
_SELECTOR_LENGTH: Final = 32  # hexadecimal digits: 128 bits

_SHORTEST: Final = 20  # characters of a strong text
_LEAST_BITS: Final = 64

# RFC 9106 section 4, second recommendation. Never change the cost: no weak key would be found.
_TIME_COST, _MEMORY_COST, _PARALLELISM, _LENGTH = 3, 65536, 4, 32


@sensitive_variables("text")
def is_weak(text: str) -> bool:
    """Return whether ``text`` can be guessed: it is short, repetitive or has no digit."""
    counts = Counter(text)
    bits = sum(n * math.log2(len(text) / n) for n in counts.values())
    has_digit = any(c.isdigit() for c in counts)
    return len(text) < _SHORTEST or bits < _LEAST_BITS or not has_digit


@sensitive_variables("text")
def bind(scheme: str, text: str) -> str:
    """Return the text to hash for root and digest, so that it works only under its scheme."""
    return f"legacy:{scheme}:{text}"


@sensitive_variables("text")
def selector(text: str) -> str:
    """Return the selector by which a strong text is found."""
    return _digest(_CANONICAL, text.encode())[:_SELECTOR_LENGTH]


@sensitive_variables("text")
def fast_hash(text: str) -> str:
    """Return the stored hash of a strong text before its first use."""
    return f"{_CANONICAL}${_digest(_CANONICAL, text.encode())}"


def selector_of_hash(stored: str, prefix: str = "") -> str:
    """Return the selector of a text of which only the hash, or hash and ``prefix``, is known.

    Raise ``ValueError`` if the hash does not allow it.
    """
    if stored.startswith(f"{KEYED}$"):
        return _digest(_CANONICAL, stored.encode())[:_SELECTOR_LENGTH]
    if not is_slow(stored):
        algorithm, digest = stored.split("$")
        if len(bytes.fromhex(digest)) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
            raise ValueError("The hash is truncated.")
        return digest.lower()[:_SELECTOR_LENGTH]
    identify_hasher(stored)
    if not prefix:
        raise ValueError("The hash is salted, so a prefix is needed to find the key.")
    return _of_prefix(prefix)


#: How a keyed hash of another package is stored: only ``VERIFY`` can compute it again.
KEYED: Final = "keyed"

#: Computes the hash that a site stored for a text (``VERIFY``).
Hook = Callable[[str], str]


def keyed(stored: str) -> str:
    """Return the form in which the keyed hash ``stored`` is kept. Raise ``ValueError``."""
    if not stored or len(stored) > 200:
        raise ValueError("The hash is empty or too long.")
    return f"{KEYED}${stored}"


@sensitive_variables("text")
def stored_hashes(text: str, hook: Hook | None) -> list[str]:
    """Return each hash that another package may have stored for ``text``, in any usual form."""
    if hook is not None:
        return [hook(text)]
    return [f"{algorithm}${digest}" for algorithm in FAST for digest in _digests(text, algorithm)]


def veiled(selector: str) -> list[str]:
    """Return digests that replace the selector of a weak text, one for each pepper.

    The selector itself would reveal the text.
    """
    return hashing.digests(f"legacy:source:{selector}")


@sensitive_variables("text")
def other_selectors(text: str, hooks: Iterable[Hook] = ()) -> list[str]:
    """Return the selectors by which ``text`` may be stored until its first use."""
    found = [digest[:_SELECTOR_LENGTH] for digest in _digests(text)]
    found += [selector_of_hash(keyed(hook(text))) for hook in hooks]
    prefix, dot, _ = text.partition(".")
    return [*found, _of_prefix(prefix)] if dot else found


@sensitive_variables("text")
def matches(text: str, stored: str, hook: Hook | None = None) -> bool:
    """Return whether ``stored`` is another package's hash of ``text``.

    Slow if ``is_slow(stored)``. A keyed hash needs the ``hook`` of its scheme.
    """
    if stored.startswith(f"{KEYED}$"):
        return hook is not None and hmac.compare_digest(keyed(hook(text)).encode(), stored.encode())
    if is_slow(stored):
        return check_password(text, stored)
    algorithm, digest = stored.split("$")
    return any(hmac.compare_digest(each, digest.lower()) for each in _digests(text, algorithm))


def is_slow(stored: str) -> bool:
    """Return whether ``stored`` is one of Django's password hashes, which have a salt."""
    if stored.startswith(f"{KEYED}$"):
        return False
    algorithm, *rest = stored.split("$")
    return algorithm not in FAST or len(rest) != 1


class Slow(NamedTuple):
    """The selector and the root of a weak text."""

    selector: str
    root: str


@sensitive_variables("text")
def slow(text: str, salt: str) -> Slow:
    """Hash a weak text. Takes tens of milliseconds and 64 MiB."""
    root = hash_secret(
        text.encode(),
        bytes.fromhex(salt),
        _TIME_COST,
        _MEMORY_COST,
        _PARALLELISM,
        _LENGTH,
        Type.ID,
    ).decode()
    raw = b64decode(root.rpartition("$")[2] + "==")  # the PHC format omits the padding
    return Slow(raw.hex(), root)


@sensitive_variables("text")
def _digests(text: str, *algorithms: str) -> Iterator[str]:
    encoded = [text.encode()]
    with suppress(ValueError):  # before version 5, knox hashed the decoded bytes
        encoded.append(binascii.unhexlify(text))
    for algorithm in algorithms or FAST:
        for each in encoded:
            yield _digest(algorithm, each)


@sensitive_variables("text")
def _digest(algorithm: str, text: bytes) -> str:
    return hashlib.new(algorithm, text, usedforsecurity=False).hexdigest()


def _of_prefix(prefix: str) -> str:
    return hashlib.sha512(b"prefix:" + prefix.encode()).hexdigest()[:_SELECTOR_LENGTH]
