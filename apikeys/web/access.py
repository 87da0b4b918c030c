"""Search, filter and sort the list of what reaches a project, by the query string of the page."""

from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy

from .. import reach
from ..models import State
from ..reach import Entry
from ..reach.entries import KINDS

_ANY = ("", gettext_lazy("Any"))


def _choice(label: Any, *choices: tuple[str, Any]) -> forms.ChoiceField:
    return forms.ChoiceField(label=label, choices=choices, required=False)


class AccessFilter(forms.Form):
    """The filters of the list. A value that it does not know lists nothing."""

    q = forms.CharField(label=gettext_lazy("Search"), required=False, max_length=100)
    kind = _choice(
        gettext_lazy("Kind"), _ANY, *((name, capfirst(label)) for name, label in KINDS.items())
    )
    state = _choice(
        gettext_lazy("State"),
        _ANY,
        *((each.value, capfirst(each.label)) for each in (State.LIVE, State.PENDING, State.PAUSED)),
    )
    denied = _choice(
        gettext_lazy("In this project"),
        _ANY,
        ("awaiting", gettext_lazy("Pending approval")),
        ("yes", gettext_lazy("Denied")),
        ("no", gettext_lazy("Not denied")),
    )
    used = _choice(
        gettext_lazy("Last use here"),
        _ANY,
        ("never", gettext_lazy("Never used")),
        ("not-90", gettext_lazy("Not in the last 90 days")),
        ("not-30", gettext_lazy("Not in the last 30 days")),
        ("30", gettext_lazy("In the last 30 days")),
    )
    sort = _choice(
        gettext_lazy("Sort by"),
        ("", gettext_lazy("Pending approval first")),
        ("name", gettext_lazy("Name")),
        ("user", gettext_lazy("User")),
        ("expires", gettext_lazy("Expiry, soonest first")),
        ("used", gettext_lazy("Last use, latest first")),
        ("idle", gettext_lazy("Last use, longest ago first")),
    )

    def __init__(self, params: QueryDict) -> None:
        super().__init__(params, auto_id="ak-%s")
        self.params = params

    def entries(self, project: Any, members: Any) -> list[Entry]:
        """Return the matching credentials, sorted."""
        if not self.is_valid():
            return []
        return reach.listed(project, members=members, **self.cleaned_data)

    def selects(self) -> list[forms.BoundField]:
        """Return the fields beside the search."""
        return [self[name] for name in self.fields if name != "q"]

    @property
    def narrowed(self) -> int:
        """The number of filters in use beside the search."""
        names = ("kind", "state", "denied", "used")
        return sum(bool(self.data.get(name)) for name in names)

    @property
    def is_filtered(self) -> bool:
        return bool(self.narrowed or self.data.get("q"))

    def link(self, **changes: str) -> str:
        """Return the query string of this list with ``changes``, from the first page."""
        params = self.params.copy()
        params.pop("page", None)
        for name, value in changes.items():
            params[name] = value
        for name in [name for name in params if not params[name]]:
            del params[name]
        return f"?{params.urlencode()}"
