"""The target of a request, and templates of paths. Pure Python.

What is authorised has to be what the upstream sees. Servers disagree about what an unusual
path means, so one is never normalised here: whatever has a second reading is refused, and
what is left is compared byte by byte.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final
from urllib.parse import quote, unquote_to_bytes

LONGEST_TARGET: Final = 8000  # characters (RFC 9110 section 4.1 asks for no less)

# RFC 3986 section 3.3 without what some servers cut off, split at or decode: ; , & = + ! ' ( ) *
_SEGMENT = re.compile(r"(?:[A-Za-z0-9\-._~@:$]|%[C-F][0-9A-F](?:%[89AB][0-9A-F])+)*", re.ASCII)
# RFC 3986 section 3.4, escapes whole; without the quotes that no browser sends raw.
_QUERY = re.compile(r"(?:[A-Za-z0-9\-._~!$&()*+,;=:@/?\[\]]|%[0-9A-Fa-f]{2})*", re.ASCII)
_ENCODED_CONTROL = re.compile(r"%(?:[01][0-9A-Fa-f]|7[Ff])", re.ASCII)
_METHOD = re.compile(r"[A-Z]{1,20}", re.ASCII)
_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_-]{0,63})\}", re.ASCII)
_REST: Final = "**"


class Ambiguous(ValueError):  # noqa: N818 - of the target, not of the program
    """Servers may differ in what they make of this. ``str()`` says what of it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A request target in origin form (RFC 9112 section 3.2.1) that has one reading."""

    #: Decoded; the first is after the leading slash, and a trailing slash makes an empty last one.
    segments: tuple[str, ...]


def parse(target: str) -> Target:
    """Raises ``Ambiguous``."""
    if len(target) > LONGEST_TARGET:
        raise Ambiguous("it is too long")
    path, question, query = target.partition("?")
    if not path.startswith("/"):
        raise Ambiguous("it does not begin with a slash")
    segments = tuple(_decode_all(path))
    if question and (not _QUERY.fullmatch(query) or _ENCODED_CONTROL.search(query)):
        raise Ambiguous("its query has characters that have to be percent-encoded")
    # A header that was sent twice arrives joined by a comma.
    if ",/" in query:
        raise Ambiguous("it may be two")
    return Target(segments)


def _decode_all(path: str) -> Iterator[str]:
    *inner, last = path[1:].split("/")
    for segment in inner:
        if not segment:
            raise Ambiguous("it has an empty segment")
        yield decode(segment)
    yield decode(last) if last else ""


def decode(segment: str) -> str:
    """The text of one segment. Raises ``Ambiguous`` if another spelling means the same."""
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
    """The one segment that ``decode`` reads as ``text``. Raises ``Ambiguous`` if none does."""
    segment = quote(text, safe="@:$")
    if not text or decode(segment) != text:
        raise Ambiguous("no segment of a path is read as this")
    return segment


def is_plain(text: str) -> bool:
    # Compatibility forms too: a fullwidth solidus becomes a slash under NFKC.
    return text.isprintable() and unicodedata.is_normalized("NFKC", text)


def is_method(text: str) -> bool:
    return bool(_METHOD.fullmatch(text))


@dataclass(frozen=True)
class Template:
    """A path with ``{parameters}``, each of which is one whole segment.

    ``**`` as the last segment stands for one segment or more. Raises ``ValueError`` with a
    sentence if it is none.
    """

    text: str

    def __post_init__(self) -> None:
        if not self.text.startswith("/"):
            raise ValueError("It has to begin with a slash.")
        names = self.parameters
        if len(set(names)) != len(names):
            raise ValueError("It has a parameter twice.")
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
                    f"{part!r} is no segment of a path: it takes letters, digits and "
                    "- . _ ~ @ : $, or a {parameter} alone, or ** at the end."
                )

    @cached_property
    def _parts(self) -> list[str]:
        return self.text[1:].split("/")

    @cached_property
    def parameters(self) -> list[str]:
        return [match[1] for part in self._parts if (match := _PARAMETER.fullmatch(part))]

    @cached_property
    def rank(self) -> tuple[int, ...]:
        """The smaller, the more specific: literals before parameters before the rest."""
        return tuple(
            2 if part == _REST else 1 if _PARAMETER.fullmatch(part) else 0 for part in self._parts
        )

    @cached_property
    def _matchers(self) -> list[tuple[str | None, str]]:
        """A parameter's name and nothing, or no name and a literal."""
        parts = (p for p in self._parts if p != _REST)
        return [
            (match[1], "") if (match := _PARAMETER.fullmatch(p)) else (None, decode(p))
            for p in parts
        ]

    def match(self, target: Target) -> Mapping[str, str] | None:
        """The parameters of ``target``, or ``None``."""
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
