"""The text of a predecessor's key: how it is found, and whether it is the right one.

strong
    More than anybody guesses. It is found by the start of its SHA-512, which gives nothing
    away; at its first use it gets a root and a digest, as this site's own keys have them.
weak
    Somebody chose it. It is found by its Argon2id, and rests under nothing faster.
"""

import binascii
import hashlib
import hmac
import math
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from argon2.low_level import Type, hash_secret_raw
from django.contrib.auth.hashers import check_password, identify_hasher
from django.views.decorators.debug import sensitive_variables

from .. import hashing

#: Unsalted, in hexadecimal: what predecessors stored.
FAST: Final = (
    *("sha512", "sha256", "sha384", "sha224", "sha1", "md5"),
    *("sha3_512", "sha3_256", "sha3_384", "blake2b", "blake2s"),
)
_CANONICAL: Final = "sha512"
_SELECTOR_LENGTH: Final = 32  # hexadecimal digits: 128 bits

_SHORTEST: Final = 20  # characters of a strong text
_LEAST_BITS: Final = 64

# RFC 9106 section 4, its second recommendation. For good: another cost would find no key.
_TIME_COST, _MEMORY_COST, _PARALLELISM, _LENGTH = 3, 65536, 4, 32


@sensitive_variables("text")
def is_weak(text: str) -> bool:
    """Whether somebody may guess it: short, of few characters, or of letters alone."""
    counts = Counter(text)
    bits = sum(n * math.log2(len(text) / n) for n in counts.values())
    has_digit = any(c.isdigit() for c in counts)
    return len(text) < _SHORTEST or bits < _LEAST_BITS or not has_digit


@sensitive_variables("text")
def bind(scheme: str, text: str) -> str:
    """What root and digest are made of, so that it is good under no other header."""
    return f"legacy:{scheme}:{text}"


@sensitive_variables("text")
def selector(text: str) -> str:
    """By which a strong text is found."""
    return _digest(_CANONICAL, text.encode())[:_SELECTOR_LENGTH]


@sensitive_variables("text")
def fast_hash(text: str) -> str:
    """As a predecessor might have stored a strong text."""
    return f"{_CANONICAL}${_digest(_CANONICAL, text.encode())}"


def selector_of_hash(stored: str, prefix: str = "") -> str:
    """By which a text is found whose hash alone is known, and perhaps its ``prefix``.

    Raises ``ValueError`` for a hash that finds nothing.
    """
    if not is_slow(stored):
        algorithm, digest = stored.split("$")
        if len(bytes.fromhex(digest)) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
            raise ValueError("It is cut off.")
        return digest.lower()[:_SELECTOR_LENGTH]
    identify_hasher(stored)
    if not prefix:
        raise ValueError("It is salted, and there is nothing to find it by.")
    return _of_prefix(prefix)


def veiled(selector: str) -> list[str]:
    """What stands for the selector of a weak text, which would give it away; one a pepper."""
    return hashing.digests(f"legacy:source:{selector}")


@sensitive_variables("text")
def other_selectors(text: str) -> list[str]:
    """By which it may be found until its first use."""
    found = [digest[:_SELECTOR_LENGTH] for digest in _digests(text)]
    prefix, dot, _ = text.partition(".")
    return [*found, _of_prefix(prefix)] if dot else found


@sensitive_variables("text")
def matches(text: str, stored: str) -> bool:
    """Whether ``stored`` is the predecessor's hash of ``text``; slow if it is a password's."""
    if is_slow(stored):
        return check_password(text, stored)
    algorithm, digest = stored.split("$")
    return any(hmac.compare_digest(each, digest.lower()) for each in _digests(text, algorithm))


def is_slow(stored: str) -> bool:
    """Whether it is one of Django's hashes of passwords, which have a salt."""
    algorithm, *rest = stored.split("$")
    return algorithm not in FAST or len(rest) != 1


class Slow(NamedTuple):
    selector: str
    root: str


@sensitive_variables("text")
def slow(text: str, salt: str) -> Slow:
    """What a weak text is found by and rests under. Tens of milliseconds, 64 MiB."""
    raw_salt = bytes.fromhex(salt)
    raw = hash_secret_raw(
        text.encode(), raw_salt, _TIME_COST, _MEMORY_COST, _PARALLELISM, _LENGTH, Type.ID
    )
    costs = f"m={_MEMORY_COST},t={_TIME_COST},p={_PARALLELISM}"
    encoded = "$".join(b64encode(each).decode().rstrip("=") for each in (raw_salt, raw))
    return Slow(raw.hex(), f"$argon2id$v=19${costs}${encoded}")


@sensitive_variables("text")
def _digests(text: str, *algorithms: str) -> Iterator[str]:
    encoded = [text.encode()]
    with suppress(ValueError):  # knox hashed the bytes until its version 5
        encoded.append(binascii.unhexlify(text))
    for algorithm in algorithms or FAST:
        for each in encoded:
            yield _digest(algorithm, each)


@sensitive_variables("text")
def _digest(algorithm: str, text: bytes) -> str:
    return hashlib.new(algorithm, text, usedforsecurity=False).hexdigest()


def _of_prefix(prefix: str) -> str:
    return hashlib.sha512(b"prefix:" + prefix.encode()).hexdigest()[:_SELECTOR_LENGTH]
