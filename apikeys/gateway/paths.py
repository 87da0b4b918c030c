"""Parse request targets and match them with path templates. Pure Python.

The gateway must authorize the same path that the upstream sees. Servers disagree about unusual
paths. So nothing is normalised here: a path that some server could read differently is
refused, and all others are compared byte by byte.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import quote, unquote_to_bytes

LONGEST_TARGET: Final = 8000  # characters; the minimum that RFC 9110 section 4.1 recommends

# RFC 3986 section 3.3, without characters that some servers cut at or decode: ; , & = + ! ' ( ) *
_SEGMENT = re.compile(r"(?:[A-Za-z0-9\-._~@:$]|%[C-F][0-9A-F](?:%[89AB][0-9A-F])+)*", re.ASCII)
# RFC 3986 section 3.4, with complete escapes only, and without quotes, which browsers escape.
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*", re.ASCII)
_ENCODED_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])", re.ASCII)
_METHOD = re.compile(r"[A-Z]{1,20}", re.ASCII)
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}", re.ASCII)
_REST: Final = "**"


class Ambiguous(ValueError):  # noqa: N818 - it describes the target, not a fault of the program
    """Servers could read this path in different ways. ``str()`` gives the reason."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request target in origin form (RFC 9112 section 3.2.1) that is not ambiguous."""

    #: The decoded segments after the leading slash. After a trailing slash, the last is empty.
    segments: tuple[str, ...]


def parse(target: str) -> Target:
    """Split a request target into decoded segments. Raise ``Ambiguous``."""
    if len(target) > LONGEST_TARGET:
        raise Ambiguous("it is too long")
    path, question, query = target.partition("?")
    if not path.startswith("/"):
        raise Ambiguous("it does not begin with a slash")
    segments = tuple(_decode_all(path))
    if question and (not _QUERY.fullmatch(query) or _ENCODED_CONTROL.search(query)):
        raise Ambiguous("its query has characters that have to be percent-encoded")
    # WSGI joins a header that was sent twice with a comma.
    if ",/" in query:
        raise Ambiguous("it may be two targets")
    return Target(segments)


def _decode_all(path: str) -> Iterator[str]:
    *inner, last = path[1:].split("/")
    for segment in inner:
        if not segment:
            raise Ambiguous("it has an empty segment")
        yield decode(segment)
    yield decode(last) if last else ""


def decode(segment: str) -> str:
    """Decode one segment. Raise ``Ambiguous`` if the text has other spellings."""
    if len(segment) > LONGEST_TARGET:  # the time to normalise grows with the square of the length
        raise Ambiguous("it is too long")
    if not _SEGMENT.fullmatch(segment):
        raise Ambiguous("it has characters or escapes that servers read in different ways")
    if segment.endswith("."):
        raise Ambiguous("a segment ends with a dot")
    if "%" not in segment:
        return segment
    try:
        text = unquote_to_bytes(segment).decode("utf-8")
    except UnicodeDecodeError:
        raise Ambiguous("it is not UTF-8") from None
    if not is_plain(text):
        raise Ambiguous("it has characters with several spellings")
    return text


def encode(text: str) -> str:
    """Return the only segment that decodes to ``text``. Raise ``Ambiguous`` without one."""
    segment = quote(text[:LONGEST_TARGET], safe="@:$")
    if not text or decode(segment) != text:
        raise Ambiguous("it cannot be written in a path")
    return segment


def is_plain(text: str) -> bool:
    """Return whether ``text`` is printable and has only one spelling."""
    # NFKC also covers compatibility forms: it turns a fullwidth solidus into a slash.
    return text.isprintable() and unicodedata.is_normalized("NFKC", text)


def is_method(text: str) -> bool:
    """Return whether ``text`` looks like a request method."""
    return bool(_METHOD.fullmatch(text))


@dataclass(frozen=True)
class Template:
    """A path template. Each ``{parameter}`` is one whole segment.

    ``**`` as the last segment matches one or more segments. Raises ``ValueError`` with a message
    for the user if the template is invalid.
    """

    text: str

    def __post_init__(self) -> None:
        if not self.text.startswith("/"):
            raise ValueError("The path must begin with a slash.")
        names = self.parameters
        if len(set(names)) != len(names):
            raise ValueError("The path has the same parameter twice.")
        for number, part in enumerate(self._parts):
            if part == _REST and number == len(self._parts) - 1:
                continue
            if _PARAMETER.fullmatch(part) or (not part and number == len(self._parts) - 1):
                continue
            try:
                decoded = decode(part)
            except Ambiguous:
                decoded = ""
            if not decoded:
                raise ValueError(
                    f"{part!r} is not a valid path segment. Use letters, digits and "
                    "- . _ ~ @ : $, or a single {parameter}, or ** at the end."
                )

    @cached_property
    def _parts(self) -> list[str]:
        return self.text[1:].split("/")

    @cached_property
    def parameters(self) -> list[str]:
        """The names of the parameters."""
        return [match[1] for part in self._parts if (match := _PARAMETER.fullmatch(part))]

    @cached_property
    def rank(self) -> tuple[int, ...]:
        """The sort key: smaller is more specific. Literals, then parameters, then ``**``."""
        return tuple(
            2 if part == _REST else 1 if _PARAMETER.fullmatch(part) else 0 for part in self._parts
        )

    @cached_property
    def _matchers(self) -> list[tuple[str | None, str]]:
        """For each segment, a pair: ``(name, "")`` for a parameter, ``(None, literal)`` else."""
        parts = (p for p in self._parts if p != _REST)
        return [
            (match[1], "") if (match := _PARAMETER.fullmatch(p)) else (None, decode(p))
            for p in parts
        ]

    def match(self, target: Target) -> Mapping[str, str] | None:
        """Return the values of the parameters in ``target``; ``None`` if it does not match."""
        segments, matchers = target.segments, self._matchers
        has_rest = self._parts[-1] == _REST
        if len(segments) != len(matchers) and not (has_rest and len(segments) > len(matchers)):
            return None
        if has_rest and (len(segments) == len(matchers) or not segments[len(matchers)]):
            return None
        found: dict[str, str] = {}
        for (name, literal), segment in zip(matchers, segments, strict=False):
            if name is None:
                if segment != literal:
                    return None
            elif segment:
                found[name] = segment
            else:
                return None
        return found
