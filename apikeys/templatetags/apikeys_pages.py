"""Template tags that show keys, their usage and times."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from django import template
from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import moments
from ..conf import slug_of
from ..legacy import schemes
from ..models import KEY_MODELS

register = template.Library()

_WIDTH, _HEIGHT = 3, 24  # pixels of one day's bar in the chart, including a gap of 1


@register.inclusion_tag("apikeys/usage.html")
def usage(counts: Sequence[int]) -> dict[str, Any]:
    """Draw a bar chart of the requests per day. The last item of ``counts`` is today."""
    top = max(counts, default=0)
    bars = []
    for day, count in enumerate(counts):
        # Keep a day with one request visible next to a day with millions.
        height = max(2, round(count / top * _HEIGHT)) if count else 1
        bars.append(f"M{day * _WIDTH} {_HEIGHT}v-{height}h{_WIDTH - 1}v{height}z")
    return {
        "path": "".join(bars),
        "width": len(counts) * _WIDTH,
        "height": _HEIGHT,
        "text": _in_words(counts),
        "short": _("%(total)s in %(days)d days")
        % {"total": number_format(sum(counts), force_grouping=True), "days": len(counts)},
    }


@register.filter
def slug(project: Any) -> str:
    """Return what names ``project`` in URLs."""
    return slug_of(project)


@register.simple_tag
def former(key: Any) -> str:
    """Show which old header an imported key may use, and until when. Empty for other keys."""
    if key.former is None:
        return ""
    scheme = schemes.enabled().get(key.former.scheme)
    if scheme is None or scheme.is_over():
        text, kind = _("old header, no longer accepted"), "ak-revoked"
    else:
        words = {"header": scheme.header, "day": date_format(scheme.until, "DATE_FORMAT")}
        text, kind = _("%(header)s, until %(day)s") % words, "ak-overlap"
    return format_html(' <span class="ak-badge {}">{}</span>', kind, text)


def _in_words(counts: Sequence[int]) -> str:
    total, days = sum(counts), len(counts)
    if not total:
        return _("No requests in the last %(days)d days") % {"days": days}
    text = ngettext(
        "%(total)s request in the last %(days)d days",
        "%(total)s requests in the last %(days)d days",
        total,
    ) % {"total": number_format(total, force_grouping=True), "days": days}
    top = max(counts)
    words = {
        "day": date_format(_day(counts, counts.index(top)), "MONTH_DAY_FORMAT"),
        "count": number_format(top, force_grouping=True),
    }
    if total == 1:
        most = _("on %(day)s") % words
    elif top == total:
        most = _("all of them on %(day)s") % words
    elif top * 2 > total:
        most = _("most of them on %(day)s: %(count)s") % words
    elif counts.count(top) > 1:
        most = _("at most %(count)s in a day") % words
    else:
        most = _("at most %(count)s in a day, on %(day)s") % words
    return f"{text}, {most}"


def _day(counts: Sequence[int], number: int) -> date:
    """Return the day, in UTC, of an item of ``counts``."""
    return datetime.now(UTC).date() - timedelta(days=len(counts) - 1 - number)


@register.inclusion_tag("apikeys/chart.html")
def chart(counts: Sequence[int]) -> dict[str, Any]:
    """Draw the requests per day with an axis, the value of each day, and a table."""
    top = max(counts, default=0)
    days = []
    for number, count in enumerate(counts):
        height = max(2, round(count / top * 100)) if count else 1
        place = {"x": number * 10, "y": 100 - height, "height": height}
        days.append({"day": _day(counts, number), "count": count, **place})
    return {
        "days": days,
        "top": top,
        "width": len(counts) * 10,
        "text": _in_words(counts),
        "used": [day for day in reversed(days) if day["count"]],
    }


@register.simple_tag
def usage_words(counts: Sequence[int]) -> str:
    """Return the data of the chart as a sentence."""
    return _in_words(counts)


@register.simple_tag
def last_use(key: Any, counts: Sequence[int]) -> str:
    """Return when ``key`` was last used and how often, as a sentence. The last count is today's."""
    if key.last_used_at is None:
        return _("It was never used.")
    today = ngettext("%(n)s request today (UTC)", "%(n)s requests today (UTC)", counts[-1]) % {
        "n": grouped(counts[-1])
    }
    words = {"today": today, "total": grouped(sum(counts)), "days": len(counts)}
    rest = _("%(today)s, %(total)s in the last %(days)d days") % words
    return format_html(_("Last used {}: {}."), ago(key.last_used_at), rest)


@register.simple_tag
def until(moment: datetime) -> str:
    """Show the time left until ``moment``, with the full date and time as a tooltip."""
    left = moment - timezone.now()
    if left < timedelta(days=2):
        text = _("in %(time)s") % {"time": timeuntil(moment, depth=1)}
    elif left < timedelta(days=366):
        # A key that was created for 30 days has 30 days a moment later.
        days = round(left / timedelta(days=1))
        text = ngettext("in %(n)d day", "in %(n)d days", days) % {"n": days}
    else:
        text = _on(moment)
    return _time(moment, text)


@register.simple_tag
def ago(moment: datetime) -> str:
    """Show the time since ``moment``, with the full date and time as a tooltip."""
    passed = timezone.now() - moment
    if passed < timedelta(minutes=1):
        text = _("just now")
    elif timedelta(days=2) <= passed < timedelta(days=366):
        text = ngettext("%(n)d day ago", "%(n)d days ago", passed.days) % {"n": passed.days}
    elif passed < timedelta(days=2):
        text = _("%(time)s ago") % {"time": timesince(moment, depth=1)}
    else:
        text = _on(moment)
    return _time(moment, text)


@register.simple_tag
def stamp(moment: datetime, form: str = "DATETIME_FORMAT") -> str:
    """Show ``moment`` in the reader's time zone, with the full time and the zone as a tooltip."""
    return _time(moment, date_format(moments.local(moment), form))


@register.simple_tag
def zone() -> str:
    """Return the name of the time zone in which the page shows times."""
    return timezone.get_current_timezone_name() if settings.USE_TZ else settings.TIME_ZONE


@register.filter(name="in_full")
def in_full_filter(moment: datetime) -> str:
    """Return the date and time of ``moment`` with the name of the time zone."""
    return in_full(moment)


@register.filter
def quoted(name: Any) -> str:
    """Return a name in quotation marks, so that a sentence shows where it ends."""
    return _("“%(name)s”") % {"name": name}


@register.filter
def some(names: Sequence[str]) -> str:
    """Return the first two of ``names`` and the number of the others, in one line."""
    more = len(names) - 2
    if more <= 1:  # no longer than the words for it
        return ", ".join(names)
    words = {"names": ", ".join(names[:2]), "more": more}
    return _("%(names)s and %(more)d more") % words


@register.filter
def grouped(number: int) -> str:
    """Return ``number`` with separators, such as "1,000"."""
    return number_format(number, force_grouping=True)


@register.filter
def kind(text: str) -> str:
    """Return the display name of a kind of key, such as "project key"."""
    return str(KEY_MODELS[text]._meta.verbose_name)


def in_full(moment: datetime) -> str:
    """Return the date and time of ``moment`` with the name of the time zone."""
    zone = timezone.get_current_timezone_name() if timezone.is_aware(moment) else ""
    return f"{date_format(moments.local(moment), 'DATETIME_FORMAT')} {zone}".strip()


def _on(moment: datetime) -> str:
    return _("on %(day)s") % {"day": date_format(moments.local(moment), "DATE_FORMAT")}


def _time(moment: datetime, text: str) -> str:
    whole = in_full(moment)
    return format_html(
        '<time datetime="{}" title="{}" tabindex="0">{}</time>', moments.iso(moment), whole, text
    )
