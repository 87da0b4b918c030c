"""Convert between datetimes as Django stores them and dates that users write.

With ``USE_TZ``, stored datetimes are aware, in UTC. Otherwise they are naive, in the site's time
zone. A date without a time is a day in the site's time zone, whatever zone a request activated.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.conf import settings
from django.utils import timezone

#: The last year that can be shown in every time zone.
MAX_YEAR: Final = 9998

_SPAN: Final = re.compile(r"(\d{1,6})([mhdwy])", re.ASCII)
_UNITS: Final = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}


#: What commands take for a time, as a sentence that goes on or ends.
FORMS: Final = (
    "It takes a duration such as 30m, 12h, 90d, 4w or 1y, an ISO 8601 date such as 2030-01-31, or "
    "a date and time such as 2030-01-31T12:00Z"
)


def stored(moment: datetime) -> datetime:
    """Return ``moment`` as Django stores it. A naive one is read in the site's time zone.

    Raise ``OverflowError`` if the result is out of range.
    """
    zone = timezone.get_default_timezone()
    if not settings.USE_TZ:
        return timezone.make_naive(moment, zone) if timezone.is_aware(moment) else moment
    aware = moment if timezone.is_aware(moment) else timezone.make_aware(moment, zone)
    return aware.astimezone(UTC)


def at(seconds: float) -> datetime:
    """Return the moment of a Unix timestamp."""
    return stored(datetime.fromtimestamp(seconds, UTC))


def start_of(day: date) -> datetime:
    """Return the first moment of ``day``. Raise ``OverflowError`` if it is out of range."""
    return stored(datetime.combine(day, time()))


def end_of(day: date) -> datetime:
    """Return the last second of ``day``. If 23:59:59 occurs twice, return the later one.

    Raise ``OverflowError`` if it is out of range.
    """
    end = datetime.combine(day, time(23, 59, 59))
    return max(stored(end), stored(end.replace(fold=1)))


def day_of(moment: datetime) -> date:
    """Return the day of a stored moment in the site's time zone."""
    if timezone.is_naive(moment):
        return moment.date()
    return timezone.localdate(moment, timezone.get_default_timezone())


def today() -> date:
    """Return the current day in the site's time zone."""
    return day_of(timezone.now())


def parse(text: str) -> datetime:
    """Return the moment of an ISO 8601 text. A date without a time means the end of that day.

    Raise ``ValueError`` or ``OverflowError``.
    """
    day = parse_day(text)
    return stored(datetime.fromisoformat(text)) if day is None else end_of(day)


def parse_day(text: str) -> date | None:
    """Return the date in ``text``, or ``None`` if it is not a date without a time."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def parse_start(text: str) -> datetime:
    """Parse like ``parse``, but a date without a time means the start of that day."""
    day = parse_day(text)
    return parse(text) if day is None else start_of(day)


def parse_bound(text: str) -> datetime:
    """Parse an exclusive end. With a date, return the start of the next day."""
    day = parse_day(text)
    return parse(text) if day is None else end_of(day) + timedelta(seconds=1)


def parse_span(text: str) -> timedelta | None:
    """Return the duration in ``text``, such as ``90d``, or ``None``."""
    match = _SPAN.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None


def ago(text: str) -> datetime:
    """Return the moment that the duration ``text`` ago was, but not before ``long_ago()``."""
    try:
        return max(timezone.now() - (parse_span(text) or timedelta()), long_ago())
    except OverflowError:
        return long_ago()


def local(moment: datetime) -> datetime:
    """Return a stored moment in the current time zone, for display."""
    return timezone.localtime(moment) if timezone.is_aware(moment) else moment


def iso(moment: datetime) -> str:
    """Return a stored moment in ISO 8601, with its offset."""
    if timezone.is_naive(moment):
        moment = timezone.make_aware(moment, timezone.get_default_timezone())
    return moment.isoformat()


def long_ago() -> datetime:
    """Return a moment before every other, in every time zone."""
    return datetime(1970, 1, 2, tzinfo=UTC if settings.USE_TZ else None)


def never() -> datetime:
    """Return a moment after every other, in every time zone."""
    return datetime(9999, 12, 30, tzinfo=UTC if settings.USE_TZ else None)
