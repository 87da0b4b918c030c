"""Parts of the sentences about audit events, as HTML."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils.formats import date_format
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _

from .. import moments, scopes


def all_projects() -> str:
    """Return the words for all projects of a user."""
    return _("all, also future ones")


def in_em(text: Any) -> str:
    """Return a name as HTML."""
    return format_html("<em>{}</em>", text)


def in_code(text: Any) -> str:
    """Return an ID, or other text of a program, as HTML."""
    return format_html("<code>{}</code>", text)


def in_list(values: Iterable[Any]) -> str:
    """Return several names as HTML."""
    return format_html_join(", ", "<em>{}</em>", ((value,) for value in values)) or _("none")


def in_words(names: Iterable[str]) -> str:
    """Return the descriptions of scopes as HTML."""
    declared = scopes.declared()
    return format_html_join(
        ", ", '<em title="{}">{}</em>', ((name, declared.get(name, name)) for name in names)
    )


def at_time(text: Any) -> str:
    """Return a stored time in the language and time zone of the page."""
    try:
        moment = moments.local(moments.stored(datetime.fromisoformat(text)))
    except (TypeError, ValueError, OverflowError):
        return str(text)
    return date_format(moment, "DATETIME_FORMAT")
