"""Search, filter and sort the list of an owner's keys by the query string of the page."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, ClassVar, Final

from django import forms
from django.db.models import Q, QuerySet, TextField, Value
from django.db.models.functions import Concat
from django.http import QueryDict
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import moments, scopes, token
from ..audit import Event
from ..conf import slug_field, slug_of
from ..keys import queries
from ..keys.event_queries import Asked
from ..models import AuditEvent, State
from ..models.audit import EVENTS_OF_CLIENTS, EVENTS_OF_SITE
from ..policy import get_policy
from .owners import Tokens

#: Days before and after a key expires in which lists and banners point it out.
SOON: Final = timedelta(days=7)

#: The states that each value of ``state`` lists. None stands for every state.
STATES: Final[dict[str, tuple[State, ...]]] = {
    "": (State.LIVE, State.PENDING, State.PAUSED),
    "pending": (State.PENDING,),
    "paused": (State.PAUSED,),
    "ended": (State.EXPIRED, State.REVOKED),
    "expired": (State.EXPIRED,),
    "revoked": (State.REVOKED,),
    "rejected": (State.REVOKED,),
    "all": (),
}
_STATES: Final = [
    ("", gettext_lazy("Active")),
    ("pending", gettext_lazy("Only pending approval")),
    ("paused", gettext_lazy("Only paused")),
    ("ended", gettext_lazy("Expired and revoked")),
    ("expired", gettext_lazy("Only expired")),
    ("revoked", gettext_lazy("Only revoked or rejected")),
    ("rejected", gettext_lazy("Only rejected")),
    ("all", gettext_lazy("All")),
]
ANY: Final = ("", gettext_lazy("Any"))
#: When a key was last used.
USES: Final = (
    ANY,
    ("never", gettext_lazy("Never used")),
    ("not-90", gettext_lazy("Not in the last 90 days")),
    ("not-30", gettext_lazy("Not in the last 30 days")),
    ("30", gettext_lazy("In the last 30 days")),
)
#: The values of ``state`` that list ended keys only. The key that ended last comes first.
_ENDED: Final = ("ended", "expired", "revoked", "rejected")
_MOST_PROJECTS: Final = 200  # in the select box


def choice(label: Any, *choices: tuple[str, Any]) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=choices, required=False)


class ListFilter(forms.Form):
    """A search, filters and an order in the query string of a list."""

    #: The fields that narrow the list, beside the search.
    NARROWING: ClassVar[Sequence[str]]
    #: The parameters that name the page.
    PAGING: ClassVar[Sequence[str]] = ("after", "before")

    def __init__(self, params: QueryDict) -> None:
        super().__init__(params, auto_id="ak-%s")
        self.params = params

    def selects(self) -> list[forms.BoundField]:
        """Return the fields beside the search."""
        return [self[name] for name in self.fields if name != "q"]

    @cached_property
    def narrowed(self) -> int:
        """The number of filters in use, beside the search."""
        return sum(bool(self.data.get(name)) for name in self.NARROWING)

    def words(self) -> list[str]:
        """Return the label and the value of each filter in use, beside the search."""
        fields = [self[name] for name in self.fields if name in self.NARROWING]
        chosen = ((each, self.value(each.name)) for each in fields)
        return [f"{each.label}: {_shown(each.field, text)}" for each, text in chosen if text]

    @property
    def is_filtered(self) -> bool:
        return bool(self.narrowed or self.data.get("q"))

    def value(self, name: str) -> str:
        return str(self.data.get(name, ""))

    def link(self, **changes: str) -> str:
        """Return the query string of this list with ``changes``, from the first page."""
        params = self.params.copy()
        for name in self.PAGING:
            params.pop(name, None)
        for name, value in changes.items():
            params[name] = value
        for name in [name for name in params if not params[name]]:
            del params[name]
        return f"?{params.urlencode()}"

    def without(self) -> str:
        """Return the query string of this list without the search and the filters."""
        return self.link(q="", **dict.fromkeys(self.NARROWING, ""))


def _shown(field: forms.Field, text: str) -> str:
    choices: Any = getattr(field, "choices", ())
    return next((str(label) for value, label in choices if value == text), text[:40])


class KeyFilter(ListFilter):
    """The filters of a list of keys. A value that it does not know lists nothing."""

    q = forms.CharField(
        label=gettext_lazy("Search"),
        required=False,
        max_length=100,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off"}),
    )
    state = choice(gettext_lazy("State"), *_STATES)
    expires = choice(
        gettext_lazy("Expiry"),
        ANY,
        ("7", gettext_lazy("Within 7 days")),
        ("30", gettext_lazy("Within 30 days")),
        ("90", gettext_lazy("Within 90 days")),
        ("never", gettext_lazy("Never expires")),
        ("past-7", gettext_lazy("In the last 7 days, not replaced")),
    )
    used = choice(gettext_lazy("Last use"), *USES)
    scope = choice(gettext_lazy("Permission"))
    project = choice(gettext_lazy("Project"))
    sort = choice(
        gettext_lazy("Sort by"),
        ("", gettext_lazy("Newest first")),
        ("name", gettext_lazy("Name")),
        ("expires", gettext_lazy("Expiry, soonest first")),
        ("used", gettext_lazy("Last use, latest first")),
        ("idle", gettext_lazy("Last use, longest ago first")),
    )

    #: The fields that narrow the list, beside the search and the state.
    NARROWING = ("expires", "used", "scope", "project")

    def __init__(self, params: QueryDict, owner: Tokens) -> None:
        super().__init__(params)
        scope, project, sort = (self.fields[name] for name in ("scope", "project", "sort"))
        assert isinstance(scope, forms.ChoiceField)  # noqa: S101 - for mypy
        assert isinstance(project, forms.ChoiceField)  # noqa: S101 - for mypy
        assert isinstance(sort, forms.ChoiceField)  # noqa: S101 - for mypy
        if self.is_of_ended or self.value("sort") == "created":
            usual = _("Latest end first") if self.is_of_ended else _("Newest first")
            choices: Any = sort.choices
            sort.choices = [("", usual), ("created", _("Newest first")), *list(choices)[1:]]
        scope.choices = [ANY, *((name, words) for name, words in scopes.declared().items())]
        if owner.project is not None:
            del self.fields["project"]
            return
        projects = get_policy().projects(owner.user).order_by(slug_field())[:_MOST_PROJECTS]
        project.choices = [ANY, *((slug_of(each), str(each)) for each in projects)]

    def rows(self, keys: QuerySet[Any]) -> QuerySet[Any]:
        """Return the ``keys`` that match, in no particular order."""
        if not self.is_valid():
            return keys.none()
        asked = self.cleaned_data
        if asked["state"] == "rejected":
            keys = queries.rejected(keys)
        elif states := STATES[asked["state"]]:
            keys = queries.in_state(keys, *states)
        if expires := asked["expires"]:
            keys = _by_expiry(keys, expires)
        if used := asked["used"]:
            keys = _by_use(keys, used)
        if scope := asked["scope"]:
            padded = Concat(Value(" "), "scope", Value(" "), output_field=TextField())
            keys = keys.alias(among=padded).filter(_granting(scope))
        if slug := asked.get("project"):
            # A subquery, so that a token is listed once.
            of_project = {f"projects__{slug_field()}": slug}
            selected = keys.model._default_manager.filter(**of_project).values("pk")
            keys = keys.filter(Q(all_projects=True) | Q(pk__in=selected))
        if term := asked["q"]:
            keys = keys.filter(
                Q(name__icontains=term)
                | Q(description__icontains=term)
                | Q(public_id__startswith=token.without_prefix(term))
            )
        return keys

    @property
    def idle_days(self) -> str:
        """The number of days in ``used``, for a list of keys that were not used for that time."""
        used = self.value("used")
        return used.removeprefix("not-") if used in ("not-30", "not-90") else ""

    def order(self) -> tuple[Any, bool]:
        """Return the expression to sort by, or ``None`` for the age, and whether it descends."""
        usual = "ended" if self.is_of_ended else ""
        by, descending = queries.ORDERS.get(self.value("sort") or usual, (None, True))
        return by() if by else None, descending

    @property
    def is_of_ended(self) -> bool:
        return self.value("state") in _ENDED

    def all_states(self) -> str:
        """Return the query string of this search in all states."""
        return self.link(state="all")

    def tabs(self) -> Iterator[dict[str, Any]]:
        """Yield the states that have a tab above the list."""
        for value, label in _STATES:
            if value in ("", "ended", "all"):
                is_shown = self.value("state") == value
                yield {"label": label, "url": self.link(state=value), "is_shown": is_shown}


def _granting(scope: str) -> Q:
    """Match keys with ``scope``, or with ``:write`` for ``:read``."""
    granted = Q(among__contains=f" {scope} ")
    if scope.endswith(":read"):
        granted |= Q(among__contains=f" {scope.removesuffix(':read')}:write ")
    return granted


def _by_expiry(keys: QuerySet[Any], expires: str) -> QuerySet[Any]:
    now = timezone.now()
    if expires == "never":
        return queries.lasting(keys)
    if expires == "past-7":
        return queries.expiring(queries.unreplaced(keys), after=now - SOON, until=now)
    return queries.expiring(keys, after=now, until=now + timedelta(days=int(expires)))


def _by_use(keys: QuerySet[Any], used: str) -> QuerySet[Any]:
    if used == "never":
        return queries.unused(keys)
    since = timezone.now() - timedelta(days=int(used.removeprefix("not-")))
    return queries.idle(keys, since) if used.startswith("not-") else queries.used(keys, since)


def number_of(rows: QuerySet[Any]) -> int:
    """Return the number of ``rows``; a number above ``queries.FEW`` is a lower bound."""
    if (number := queries.known(rows)) is not None:
        return number
    return rows.order_by().values("pk")[: queries.FEW + 1].count()


class ActivityFilter(ListFilter):
    """The filters of a list of audit events. A value that it does not know lists nothing."""

    event = choice(gettext_lazy("Event"))
    q = forms.CharField(
        label=gettext_lazy("Search by name or ID"),
        required=False,
        max_length=100,
        widget=forms.TextInput(
            {"type": "search", "autocomplete": "off", "placeholder": gettext_lazy("Name or ID")}
        ),
    )
    by = forms.CharField(label=gettext_lazy("By"), required=False, max_length=255)
    since = forms.DateField(
        label=gettext_lazy("From"), required=False, widget=forms.DateInput({"type": "date"})
    )
    until = forms.DateField(
        label=gettext_lazy("To"), required=False, widget=forms.DateInput({"type": "date"})
    )

    NARROWING = ("event", "by", "since", "until")

    def __init__(self, params: QueryDict, *, of_clients: bool = True) -> None:
        super().__init__(params)
        event = self.fields["event"]
        assert isinstance(event, forms.ChoiceField)  # noqa: S101 - for mypy
        hidden = EVENTS_OF_SITE if of_clients else EVENTS_OF_SITE | EVENTS_OF_CLIENTS
        offered = [each for each in Event if each not in hidden]
        event.choices = [ANY, *((each.value, capfirst(each.label)) for each in offered)]

    def asked(self, key: str = "", replaced: tuple[str, ...] = ()) -> Asked | None:
        """Return the filters, with the IDs of a ``key`` and of its predecessors.

        Return ``None`` if they match nothing.
        """
        if not self.is_valid():
            return None
        asked, times, others = self.cleaned_data, Q(), Q()
        if term := asked["q"]:
            start = token.without_prefix(term)
            if not key and _is_used_id(start):
                key = start
            else:
                others &= Q(name__icontains=term) | Q(public_id__startswith=start)
        if asked["by"]:
            others &= Q(by__iexact=asked["by"])
        try:
            if asked["since"]:
                times &= Q(at__gte=moments.start_of(asked["since"]))
            if asked["until"]:
                times &= Q(at__lte=moments.end_of(asked["until"]))
        except OverflowError:
            return None
        return Asked(key, asked["event"], times, others, replaced)

    def ranges(self) -> Iterator[dict[str, Any]]:
        """Yield the links that set the first and the last day."""
        today = moments.local(timezone.now()).date()
        yesterday, week = today - timedelta(days=1), today - timedelta(days=6)
        for label, since, until in (
            (_("Any time"), "", ""),
            (_("Today"), str(today), str(today)),
            (_("Yesterday"), str(yesterday), str(yesterday)),
            (_("Last 7 days"), str(week), str(today)),
        ):
            is_shown = (self.value("since"), self.value("until")) == (since, until)
            url = self.link(since=since, until=until)
            yield {"label": label, "url": url, "is_shown": is_shown}


def _is_used_id(text: str) -> bool:
    """Return whether ``text`` is an ID in the log. A name may have the form of one."""
    return token.is_id(text) and AuditEvent.objects.filter(public_id=text).exists()
