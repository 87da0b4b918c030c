"""Search, filter and sort the list of what reaches a project, by the query string of the page."""

from collections.abc import Sequence
from typing import Any, Final

from django import forms
from django.http import HttpResponse, QueryDict
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import reach, token
from ..models import AnyKey, State
from ..reach import Entry, affected, exports, sources
from ..reach.entries import KINDS
from ..reach.shown import Shown
from ..templatetags.apikeys_pages import quoted
from .filters import ANY, USES, ListFilter, choice
from .pagination import Page
from .wording import listed

_SIZE: Final = 50


class AccessFilter(ListFilter):
    """The filters of the list. A value that it does not know lists nothing."""

    q = forms.CharField(label=gettext_lazy("Search"), required=False, max_length=100)
    kind = choice(
        gettext_lazy("Kind"), ANY, *((name, capfirst(label)) for name, label in KINDS.items())
    )
    state = choice(
        gettext_lazy("State"),
        ANY,
        *((each.value, capfirst(each.label)) for each in (State.LIVE, State.PENDING, State.PAUSED)),
    )
    denied = choice(
        gettext_lazy("In this project"),
        ANY,
        ("awaiting", gettext_lazy("Pending approval")),
        ("yes", gettext_lazy("Denied or rejected")),
        ("no", gettext_lazy("Not denied or rejected")),
        ("allowed", gettext_lazy("Approved or allowed again")),
    )
    used = choice(gettext_lazy("Last use here"), *USES)
    sort = choice(
        gettext_lazy("Sort by"),
        ("", gettext_lazy("Pending approval first")),
        ("name", gettext_lazy("Name")),
        ("user", gettext_lazy("User")),
        ("expires", gettext_lazy("Expiry, soonest first")),
        ("used", gettext_lazy("Last use, latest first")),
        ("idle", gettext_lazy("Last use, longest ago first")),
    )

    NARROWING = ("kind", "state", "denied", "used")
    PAGING = ("page",)

    def entries(self, project: Any, members: Any) -> list[Entry]:
        """Return the matching credentials, sorted."""
        if not self.is_valid():
            return []
        return reach.listed(project, members=members, **self.cleaned_data)

    def page(self, project: Any, found: list[Entry]) -> Page:
        """Return the page of ``found`` that the query string names, with all facts."""
        text = self.value("page")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1
        start = max(number - 1, 0) * _SIZE
        shown = found[start : start + _SIZE]
        sources.fill(project, shown)
        return Page(
            shown,
            self.link(page=str(number - 1)) if start else None,
            self.link(page=str(number + 1)) if start + _SIZE < len(found) else None,
        )


def words_of(verb: str, entry: Entry, project: Any) -> dict[str, str]:
    """Return the words for a decision about ``entry``: the question, its button, and the answer."""
    if verb == "deny" and entry.awaits:
        title, button = _("Reject %(name)s in %(project)s?"), _("Reject")
        done = _("Rejected %(name)s in this project.")
    elif verb == "deny":
        title, button = _("Deny %(name)s in %(project)s?"), _("Deny")
        done = _("Denied %(name)s in this project.")
    elif entry.is_request:
        title, button = _("Approve %(name)s in %(project)s?"), _("Approve")
        done = _("Approved %(name)s in this project.")
    else:
        title, button = _("Allow %(name)s in %(project)s?"), _("Allow")
        done = _("Allowed %(name)s in this project.")
    about = {"name": quoted(entry.name), "project": project}
    return {"title": title % about, "verb": button, "done": done % about}


def affected_by(verb: str, entry: Entry, project: Any) -> str:
    """Return the names of the other keys that the decision applies to."""
    find = affected.denied_with if verb == "deny" else affected.allowed_with
    return names_of(find(project, entry))


def names_of(keys: Sequence[AnyKey]) -> str:
    return listed([f"{quoted(key.name)} ({KINDS[token.KIND_NAMES[key.KIND]]})" for key in keys])


def shown_in(data: QueryDict, verb: str, entry: Entry) -> Shown:
    """Return what the page showed of ``entry``, from its hidden field.

    A form without it decides about ``entry`` as it is now, unless it approves a request.
    """
    if "shown" in data or (verb == "allow" and entry.is_request):
        return Shown.parse(data.get("shown", ""))
    return Shown.of(entry)


def download(project: Any, found: list[Entry], name: str) -> HttpResponse | None:
    """Return the entries as a file in the format ``name``; ``None`` for an unknown format."""
    if name not in exports.FORMATS:
        return None
    sources.fill(project, found)
    text, media_type = exports.FORMATS[name]
    response = HttpResponse(text(found), content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="access.{name}"'
    return response
