"""Rules that settings are checked with: types and limits, each with a description."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from threading import TIMEOUT_MAX
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import urljoin, urlsplit

from django.utils.module_loading import import_string

T = TypeVar("T")


@dataclass(frozen=True)
class Rule(Generic[T]):
    """The valid values of a setting, and how to read one."""

    #: Describes a valid value. Completes "It must be …".
    words: str
    test: Callable[[Any], bool]
    #: Converts the value in the settings into the value that the code uses.
    parse: Callable[[Any], T] = lambda given: cast("T", given)

    def why_not(self, given: Any) -> str | None:
        """Return ``None`` if ``given`` is valid; otherwise a reason, which may be empty."""
        try:
            return None if self.test(given) else ""
        except ImportError as error:
            return str(error)
        except (AttributeError, TypeError, ValueError):
            return ""  # the error message may contain a secret

    def or_none(self) -> "Rule[T | None]":
        return Rule(
            f"{self.words}, or None",
            lambda given: given is None or self.test(given),
            lambda given: None if given is None else self.parse(given),
        )


def is_list(given: Any) -> bool:
    # Refuse a string, which is a collection of its characters.
    return isinstance(given, Collection) and not isinstance(given, str | bytes | Mapping)


def is_url(given: Any, schemes: Collection[str] = ("https", "http")) -> bool:
    """Return whether ``given`` is a URL with a host and a valid port, if any."""
    try:
        parts = urlsplit(given) if isinstance(given, str) else None
        return bool(parts and parts.scheme in schemes and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def is_url_or_path(given: Any) -> bool:
    is_path = isinstance(given, str) and not urlsplit(given).scheme
    return is_url(urljoin("https://localhost/", given) if is_path else given)


_HEADER: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}", re.ASCII)
_NO_KEYS: Final = ("authorization", "cookie", "host", "signature", "signature-input")


def is_header(given: Any) -> bool:
    """Return whether ``given`` is the name of a header that may carry a key and nothing else."""
    is_name = isinstance(given, str) and _HEADER.fullmatch(given)
    return bool(is_name) and given.lower() not in _NO_KEYS


def are_default_scopes(given: Any) -> bool:
    """Return whether ``given`` maps names to lists of scopes, to mappings of such, or to None."""
    entries = given.values() if isinstance(given, Mapping) else [given]
    lists = [
        names
        for entry in entries
        if entry is not None
        for names in (entry.values() if isinstance(entry, Mapping) else [entry])
    ]
    return (
        isinstance(given, Mapping)
        and all(isinstance(name, str) for name in given)
        and all(isinstance(names, list | tuple) for names in lists)
        and all(isinstance(name, str) for names in lists for name in names)
    )


def is_redis_url(given: Any) -> bool:
    from redis import ConnectionPool

    try:
        ConnectionPool.from_url(given).make_connection()  # does not connect yet
    except (TypeError, ValueError, AttributeError):
        return False
    return True


def _is_store(given: str) -> bool:
    scheme, separator, _ = given.partition("://")
    if find_spec("limits") is not None:
        from limits.storage import SCHEMES  # type: ignore[attr-defined]

        if scheme not in SCHEMES:
            return False
    if scheme in ("redis", "rediss") and find_spec("redis") is not None:
        return is_redis_url(given)
    return bool(scheme and separator)


YES_OR_NO: Final = Rule[bool]("True or False", lambda given: isinstance(given, bool))
SECONDS: Final = Rule[float](
    "a number of seconds, more than 0",
    lambda given: type(given) in (int, float) and 0 < given <= TIMEOUT_MAX,
)
URL: Final = Rule[str]("a URL, such as https://api.example.com", is_url)
STORE: Final = Rule[str]("the URL of a store, such as 'redis://127.0.0.1:6379/0'", _is_store)


def whole(least: int, most: int | None = None) -> Rule[int]:
    """Accept whole numbers from ``least`` to ``most``."""
    return Rule(
        f"a whole number, {least} or more"
        if most is None
        else f"a whole number, {least} to {most}",
        lambda given: type(given) is int and least <= given and (most is None or given <= most),
    )


def one_of(*choices: str) -> Rule[str]:
    words = ", ".join(map(repr, choices[:-1]))
    return Rule(
        f"{words} or {choices[-1]!r}", lambda given: isinstance(given, str) and given in choices
    )


def text(words: str, pattern: str) -> Rule[str]:
    """Accept text that matches ``pattern`` completely."""
    matches = re.compile(pattern, re.ASCII).fullmatch
    return Rule(words, lambda given: isinstance(given, str) and matches(given) is not None)


def list_of(words: str, is_item: Callable[[Any], object]) -> Rule[Collection[str]]:
    """Accept a list, tuple or set if all its items pass ``is_item``."""
    return Rule(words, lambda given: is_list(given) and all(map(is_item, given)))


def duration(words: str, least: timedelta, most: timedelta = timedelta.max) -> Rule[timedelta]:
    return Rule(words, lambda given: isinstance(given, timedelta) and least <= given <= most)


#: How long rows are kept.
KEPT: Final = duration("a timedelta of at least 30 days", timedelta(days=30)).or_none()


def mapping(
    words: str, test: Callable[[Any], bool] = lambda given: True
) -> Rule[Mapping[str, Any]]:
    """Accept a dictionary that passes ``test``. Read anything else as an empty dictionary."""
    return Rule(
        words,
        lambda given: isinstance(given, Mapping) and test(given),
        lambda given: given if isinstance(given, Mapping) else {},
    )


def path_of(base: str) -> Rule[str]:
    """Accept the dotted path of a subclass of the class ``base``, also a dotted path."""
    return Rule(
        f"the dotted path of a subclass of {base}",
        lambda given: issubclass(load(given), import_string(base)),
    )


def instance_of(base: str) -> Rule[Any]:
    """Accept a subclass of the class ``base``, or its dotted path. Read it as an instance."""

    def build(given: Any) -> Any:
        return import_string(given)() if isinstance(given, str) else given()

    def test(given: Any) -> bool:
        try:
            return isinstance(build(given), import_string(base))
        except (TypeError, ValueError) as error:
            raise ImportError(str(error)) from error

    return Rule(f"a subclass of {base}, or its dotted path", test, build)


def instance_with(*methods: str) -> Rule[Any]:
    """Accept a class with these methods, or its dotted path, or ``None``. Read an instance."""

    def build(given: Any) -> Any:
        if given is None:
            return None
        return load(given)() if isinstance(given, str) else given()

    def test(given: Any) -> bool:
        try:
            built = build(given)
        except (TypeError, ValueError) as error:
            raise ImportError(str(error)) from error
        return built is None or all(callable(getattr(built, name, None)) for name in methods)

    words = " and ".join(f"{name}()" for name in methods)
    return Rule(f"a class with {words}, its dotted path, or None", test, build)


def load(path: Any) -> Any:
    """Import a dotted path. Turn other exceptions into ``ImportError`` with a reason."""
    try:
        return import_string(path)
    except (AttributeError, TypeError, ValueError) as error:
        raise ImportError(str(error)) from error
