from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, time
from functools import lru_cache
from typing import Any, Final

from django import forms
from django.db import models
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import moments
from ..errors import LifecycleError
from ..refusals import Refusal, Refused
from .base import Circumstances, Fields, Json, Option, Phase, Restriction, Terms

_MESSAGE: Final = gettext_lazy("This key is not valid yet. It starts at {start}.")
NOT_YET_VALID: Final = Refusal("not_yet_valid", _MESSAGE)
_MIN_YEAR: Final = 1970


class Columns(models.Model):
    not_before = models.DateTimeField(
        gettext_lazy("not before"),
        null=True,
        blank=True,
        help_text=gettext_lazy("When the key starts to work. Earlier requests are refused."),
    )

    class Meta:
        abstract = True


class NotBefore(Restriction):
    """The moment from which a key works; ``None`` for a key that works at once.

    Tokens that were exchanged for a key follow its start at each request. A credential has
    started when it makes another key, so it does not bind the start of that key.
    """

    name = "not_before"
    phase = Phase.VERIFY
    empty = None
    columns = Columns
    refusal = NOT_YET_VALID
    label = gettext_lazy("Starts on")
    is_about_time = True
    option = Option(
        "--starts",
        "When the key starts to work: a duration (12h, 7d, 4w), an ISO 8601 date or date and time, "
        "or now (default: now). A date means the start of that day.",
        "When the key starts to work, as for mint.",
        metavar="WHEN",
        repeats=False,
        clear="now",
    )
    json = Json(
        datetime,
        "When the key starts to work. Null if it works at once.",
        "The start, in ISO 8601. Earlier requests are refused. A time without an offset is in UTC. "
        "A date means the start of that day in the site's time zone. Null starts the key now.",
        optional=True,
        of_day=moments.start_of,
    )

    def parse(self, given: datetime | None) -> datetime | None:
        if given is None:
            return None
        try:
            start = moments.stored(given)
        except OverflowError:
            raise self._beyond_the_calendar() from None
        if not _MIN_YEAR <= start.year <= moments.MAX_YEAR:
            raise self._beyond_the_calendar()
        return start

    def _beyond_the_calendar(self) -> LifecycleError:
        message = _("The start must be from the year %(first)d to the year %(last)d.")
        years = {"first": _MIN_YEAR, "last": moments.MAX_YEAR}
        return LifecycleError("invalid_start", message % years, self.name)

    def check_terms(self, value: datetime, terms: Terms) -> None:
        if terms.expires_at is not None and value >= terms.expires_at:
            message = _("The key must start before it expires.")
            raise LifecycleError("starts_after_expiry", message, self.name)

    def covers(self, bound: datetime | None, value: datetime | None) -> bool:
        return bound is None or (value is not None and value >= bound)

    def check(self, value: datetime, circumstances: Circumstances) -> None:
        if circumstances.now < value:
            raise Refused(_refusal(moments.iso(value)))

    def claims(self, value: datetime) -> Mapping[str, Any]:
        return {"nbf": int(value.timestamp())}

    def as_json(self, value: datetime | None) -> str | None:
        return None if value is None else moments.iso(value)

    def from_option(self, given: str) -> datetime | None:
        if given == self.option.clear:
            return None
        try:
            if (span := moments.parse_span(given)) is not None:
                return timezone.now() + span
            return moments.parse_start(given)
        except (ValueError, OverflowError):
            message = f"--starts does not understand {given!r}. {moments.FORMS}, or now."
            raise LifecycleError("invalid_start", message, self.name) from None

    def field(self, fields: Fields) -> forms.Field:
        return fields.moment(
            moments.start_of,
            label=self.label,
            help_text=gettext_lazy(
                "Earlier requests are refused. A date means the start of that day. Leave empty to "
                "start now."
            ),
        )

    def to_form(self, value: datetime | None) -> datetime | None:
        return value

    def sentence(self, value: datetime) -> str:
        return _("Starts on %(when)s.") % {"when": _shown(value)}

    def display(self, value: datetime) -> str:
        return _shown(value)

    def pause(self, value: datetime, now: datetime) -> str:
        return _("starts on %(when)s") % {"when": _shown(value)} if now < value else ""


@lru_cache(maxsize=1024)
def _refusal(start: str) -> Refusal:
    """Return the same refusal for the same start: answers to refusals are kept in memory."""
    return replace(NOT_YET_VALID, message=format_lazy(_MESSAGE, start=start))


def _shown(moment: datetime) -> str:
    local = moments.local(moment)
    return date_format(local, "DATE_FORMAT" if local.time() == time() else "DATETIME_FORMAT")
