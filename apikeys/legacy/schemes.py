"""Read ``APIKEYS["LEGACY"]``: which imported keys are accepted, in which header, until when."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import moments, refusals, token
from ..conf import app_settings
from ..refusals import Refused
from . import options

#: The default header of each package.
HEADERS: Final[Mapping[str, str]] = {
    "authtoken": "Authorization: Token",
    "knox": "Authorization: Token",
    "drf-api-key": "Authorization: Api-Key",
    "csv": "X-Api-Key",
}

_HEADER: Final = re.compile(r"(?i:authorization): ([!#$%&'*+.^_`|~0-9A-Za-z-]+)|([A-Za-z0-9-]+)")
#: The schemes of ``Authorization`` that the list ``HEADERS`` may name alone.
_SCHEMES_ALONE: Final = {each: f"Authorization: {each}" for each in ("Token", "Bearer")}
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,512}")


class Header(NamedTuple):
    """A header that carries the keys of a scheme."""

    #: As users write it: ``Authorization: Token`` or ``X-Api-Key``.
    text: str
    #: The name of the header in ``META``.
    meta: str
    #: The word before the key, in lower case; empty if the key is the whole value.
    keyword: str


class Scheme(NamedTuple):
    """One entry of ``LEGACY``."""

    name: str
    headers: tuple[Header, ...]
    #: The moment from which the keys are refused.
    ends: datetime
    #: The last day on which the keys are accepted.
    until: date

    @property
    def header(self) -> str:
        """All headers, for people."""
        return ", ".join(header.text for header in self.headers)

    def is_over(self) -> bool:
        """Return whether the last day has passed."""
        return self.ends <= timezone.now()


class Presented(NamedTuple):
    """A key in a request, and the schemes with its header. ``repr`` omits the key."""

    text: str
    schemes: Mapping[str, Scheme]

    def __repr__(self) -> str:
        return f"<Presented {'/'.join(self.schemes)}>"


def parse(name: str, given: Any) -> Scheme:
    """Parse one entry of ``LEGACY``. Raise ``ValueError`` or ``TypeError`` with a message."""
    if name not in HEADERS:
        raise ValueError(f"{name!r} is unknown. Use {', '.join(HEADERS)}.")
    known = {"HEADER", "HEADERS", "UNTIL", *options.NAMES}
    if not isinstance(given, Mapping) or set(given) - known:
        names = ", ".join(("HEADERS", *options.NAMES))
        raise TypeError(f"{name!r} must be a dictionary with UNTIL and, optionally, {names}.")
    if "HEADER" in given and "HEADERS" in given:
        raise TypeError(f"{name!r} has both HEADER and HEADERS. Keep HEADERS.")
    options.parse_live(name, given.get("LIVE"))
    options.parse_hook(name, given.get("VERIFY"))
    until = given.get("UNTIL")
    with suppress(ValueError):
        until = date.fromisoformat(until) if isinstance(until, str) else until
    if type(until) is not date:  # refuse a datetime, which is a subclass
        raise TypeError(f"{name!r} needs UNTIL: the last day, such as '2030-06-30' or a date.")
    written = given.get("HEADERS", [given.get("HEADER", HEADERS[name])])
    if not isinstance(written, list | tuple) or not written:
        raise TypeError(f"{name!r} needs a list of HEADERS, such as ['X-Api-Key'].")
    if "HEADERS" in given:
        written = [
            _SCHEMES_ALONE.get(each, each) if isinstance(each, str) else each for each in written
        ]
    headers = tuple(dict.fromkeys(_header(name, each) for each in written))
    try:
        ends = moments.start_of(until + timedelta(days=1))
    except OverflowError:
        raise ValueError(f"{name!r} has an UNTIL that is too late: {until}.") from None
    return Scheme(name, headers, ends, until)


def _header(name: str, given: Any) -> Header:
    match = _HEADER.fullmatch(given if isinstance(given, str) else "")
    keyword, field = match.groups(default="") if match else ("", "")
    if match is None or keyword.lower() == "basic" or field.lower() == "authorization":
        raise ValueError(
            f"{name!r} has an invalid header: {given!r}. Use, for example, "
            f"{HEADERS['authtoken']!r} or {HEADERS['csv']!r}."
        )
    return Header(given, meta_of("" if keyword else field), keyword.lower())


def meta_of(field: str) -> str:
    """Return the name of a header field in ``META``. Empty text means ``Authorization``."""
    return "HTTP_" + (field.upper().replace("-", "_") or "AUTHORIZATION")


@cache
def enabled() -> Mapping[str, Scheme]:
    """Return all schemes of the site by name, including ended ones."""
    return {name: parse(name, given) for name, given in app_settings.LEGACY.items()}


@cache
def _forms() -> Sequence[tuple[str, str, Mapping[str, Scheme]]]:
    forms: dict[tuple[str, str], dict[str, Scheme]] = {}
    for scheme in enabled().values():
        for header in scheme.headers:
            forms.setdefault((header.meta, header.keyword), {})[scheme.name] = scheme
    return [(*form, schemes) for form, schemes in forms.items()]


def headers() -> list[str]:
    """Return the headers besides ``Authorization`` that may contain a key of any kind."""
    of_schemes = (header for scheme in enabled().values() for header in scheme.headers)
    old = (header.text for header in of_schemes if not header.keyword)
    found: dict[str, str] = {}
    for name in (*app_settings.HEADERS, *old):
        found.setdefault(name.lower(), name)
    return list(found.values())


def reads(meta: str) -> bool:
    """Return whether a scheme reads the header with this name in ``META``."""
    return any(of_form == meta for of_form, _, _ in _forms())


@sensitive_variables("value")
def is_sent(request: HttpRequest) -> bool:
    """Return whether a legacy header of a request has anything but a key of this app."""
    for meta, keyword, _ in _forms():
        value = request.META.get(meta, "").strip(" \t")
        if keyword:
            if value.partition(" ")[0].lower() == keyword:
                return True
        elif value and not token.looks_like_key(value, app_settings.PREFIX):
            return True
    return False


def of_bearer() -> Mapping[str, Scheme]:
    """Return the schemes that use ``Authorization: Bearer``, like this app's keys."""
    return next((schemes for _, keyword, schemes in _forms() if keyword == "bearer"), {})


@sensitive_variables("value", "text")
def read(request: HttpRequest) -> Presented | None:
    """Return the key in a legacy header; ``None`` without such a header.

    Raise ``Refused`` for a value that cannot be a key (``malformed_key``), for a key of this app
    (``invalid_request``: send it as ``Bearer``), and after the last day (``legacy_ended``).
    """
    for meta, keyword, schemes in _forms():
        value = request.META.get(meta, "").strip(" \t")
        if keyword:
            given, _, text = value.partition(" ")
            if given.lower() != keyword:
                continue
            value = text.strip(" ")
        elif not value:
            continue
        if token.looks_like_key(value, app_settings.PREFIX):
            raise Refused(refusals.INVALID_REQUEST)
        check_not_over(schemes)
        if not _TEXT.fullmatch(value):
            raise Refused(refusals.MALFORMED_KEY)
        return Presented(value, schemes)
    return None


def is_text(text: str) -> bool:
    """Return whether a header can contain ``text`` as a key."""
    return _TEXT.fullmatch(text) is not None


def check_not_over(schemes: Mapping[str, Scheme]) -> None:
    """Raise ``Refused`` (``legacy_ended``) if all ``schemes`` have ended."""
    if all(scheme.is_over() for scheme in schemes.values()):
        raise Refused(refusals.LEGACY_ENDED)


def _reload(*, setting: str, **kwargs: object) -> None:
    if setting in ("APIKEYS", "TIME_ZONE", "USE_TZ"):
        enabled.cache_clear()
        _forms.cache_clear()


setting_changed.connect(_reload, dispatch_uid="apikeys.legacy")
