"""What the templates of the settings pages say of keys and their use."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.timesince import timesince, timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ..legacy import schemes
from ..models import KEY_MODELS

register = template.Library()

_WIDTH, _HEIGHT = 3, 24  # of a day's bar in the picture, a gap of 1 included


@register.inclusion_tag("apikeys/usage.html")
def usage(counts: Sequence[int]) -> dict[str, Any]:
    """A small picture of the requests of each day, the last one today."""
    top = max(counts, default=0)
    bars = []
    for day, count in enumerate(counts):
        # A day with a single request is to be seen beside one with millions.
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


@register.simple_tag
def former(key: Any) -> str:
    """Of an imported key: in which header it is taken, and until when."""
    if key.former is None:
        return ""
    scheme = schemes.enabled().get(key.former.scheme)
    if scheme is None or scheme.is_over():
        text, kind = _("old header, no longer taken"), "ak-revoked"
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
    day = timezone.now().date() - timedelta(days=days - 1 - counts.index(top))
    most = _("most of them on %(day)s: %(count)s") % {
        "day": date_format(day, "MONTH_DAY_FORMAT"),
        "count": number_format(top, force_grouping=True),
    }
    return f"{text}, {most}"


@register.simple_tag
def usage_words(counts: Sequence[int]) -> str:
    """What the picture shows, as a sentence."""
    return _in_words(counts)


@register.simple_tag
def until(moment: datetime) -> str:
    """How long until ``moment``, with the whole of it as a tooltip."""
    left = moment - timezone.now()
    if left < timedelta(days=2):
        text = _("in %(time)s") % {"time": timeuntil(moment, depth=1)}
    elif left < timedelta(days=366):
        text = ngettext("in %(n)d day", "in %(n)d days", left.days) % {"n": left.days}
    else:
        text = _on(moment)
    return _time(moment, text)


@register.simple_tag
def ago(moment: datetime) -> str:
    """How long since ``moment``, with the whole of it as a tooltip."""
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


@register.filter
def kind(text: str) -> str:
    """The name of a kind of key."""
    return str(KEY_MODELS[text]._meta.verbose_name)


def _on(moment: datetime) -> str:
    return _("on %(day)s") % {"day": date_format(timezone.localtime(moment), "DATE_FORMAT")}


def _time(moment: datetime, text: str) -> str:
    whole = date_format(timezone.localtime(moment), "DATETIME_FORMAT")
    return format_html('<time datetime="{}" title="{}">{}</time>', moment.isoformat(), whole, text)
