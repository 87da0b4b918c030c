"""Which predecessors' keys are taken, in which header, until when: ``APIKEYS["LEGACY"]``."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import refusals, token
from ..conf import app_settings
from ..refusals import Refused

#: The header of each scheme as its package has it by default.
HEADERS: Final[Mapping[str, str]] = {
    "authtoken": "Authorization: Token",
    "knox": "Authorization: Token",
    "drf-api-key": "Authorization: Api-Key",
    "csv": "X-Api-Key",
}

_HEADER: Final = re.compile(r"(?i:authorization): ([!#$%&'*+.^_`|~0-9A-Za-z-]+)|([A-Za-z0-9-]+)")
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,512}")


class Scheme(NamedTuple):
    name: str
    #: As people write it: ``Authorization: Token``, or ``X-Api-Key``.
    header: str
    #: In ``META``.
    meta: str
    #: What stands before the key, in lower case; empty where the key is the whole value.
    keyword: str
    #: The first moment at which it is refused.
    ends: datetime
    until: date

    def is_over(self) -> bool:
        return self.ends <= timezone.now()


class Presented(NamedTuple):
    """A text, and the schemes that its header may be of. ``repr`` leaves the text out."""

    text: str
    schemes: Mapping[str, Scheme]

    def __repr__(self) -> str:
        return f"<Presented {'/'.join(self.schemes)}>"


def parse(name: str, given: Any) -> Scheme:
    """Raises ``ValueError`` or ``TypeError`` with a sentence."""
    if name not in HEADERS:
        raise ValueError(f"There is no {name!r}, only {', '.join(HEADERS)}.")
    if not isinstance(given, Mapping) or set(given) - {"HEADER", "UNTIL"}:
        raise TypeError(f"{name!r} takes a dictionary of HEADER and UNTIL.")
    until = given.get("UNTIL")
    with suppress(ValueError):
        until = date.fromisoformat(until) if isinstance(until, str) else until
    if type(until) is not date:  # a datetime is one, too
        raise TypeError(f"{name!r} needs UNTIL, the last day: '2030-06-30', or a date.")
    header = given.get("HEADER", HEADERS[name])
    match = _HEADER.fullmatch(header if isinstance(header, str) else "")
    keyword, field = match.groups(default="") if match else ("", "")
    if match is None or keyword.lower() == "basic" or field.lower() == "authorization":
        raise ValueError(
            f"{name!r} has the HEADER {header!r}; it takes one such as "
            f"{HEADERS['authtoken']!r} or {HEADERS['csv']!r}."
        )
    meta = "HTTP_" + ("AUTHORIZATION" if keyword else field.upper().replace("-", "_"))
    try:
        midnight = datetime.combine(until + timedelta(days=1), time())
        ends = timezone.make_aware(midnight).astimezone(UTC) if settings.USE_TZ else midnight
    except OverflowError:
        raise ValueError(f"{name!r} has an UNTIL beyond the calendar: {until}.") from None
    return Scheme(name, header, meta, keyword.lower(), ends, until)


@cache
def enabled() -> Mapping[str, Scheme]:
    """All that the site names, also those that are over."""
    return {name: parse(name, given) for name, given in app_settings.LEGACY.items()}


@cache
def _forms() -> Sequence[tuple[str, str, Mapping[str, Scheme]]]:
    forms: dict[tuple[str, str], dict[str, Scheme]] = {}
    for scheme in enabled().values():
        forms.setdefault((scheme.meta, scheme.keyword), {})[scheme.name] = scheme
    return [(*form, schemes) for form, schemes in forms.items()]


def headers() -> list[str]:
    """The header fields, beside ``Authorization``, that a key may come in."""
    return [scheme.header for scheme in enabled().values() if not scheme.keyword]


def of_bearer() -> Mapping[str, Scheme]:
    """The schemes that share the header with this site's own keys."""
    return next((schemes for _, keyword, schemes in _forms() if keyword == "bearer"), {})


@sensitive_variables("value", "text")
def read(request: HttpRequest) -> Presented | None:
    """What a predecessor's header holds; ``None`` without one.

    Raises ``Refused`` for what cannot be a key (``malformed_key``), one of this site's own
    (``invalid_request``: those go behind ``Bearer``), and after the last day
    (``legacy_ended``).
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
    """Whether a header can hold it as a key."""
    return _TEXT.fullmatch(text) is not None


def check_not_over(schemes: Mapping[str, Scheme]) -> None:
    if all(scheme.is_over() for scheme in schemes.values()):
        raise Refused(refusals.LEGACY_ENDED)


def _reload(*, setting: str, **kwargs: object) -> None:
    if setting in ("APIKEYS", "TIME_ZONE", "USE_TZ"):
        enabled.cache_clear()
        _forms.cache_clear()


setting_changed.connect(_reload, dispatch_uid="apikeys.legacy")
