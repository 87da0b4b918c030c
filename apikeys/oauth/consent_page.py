"""The form and the facts of the consent page, for the browser and for the device grant."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django import forms
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.timesince import timeuntil
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from .. import scopes
from ..keys.forms import ALL, SELECTED, ConsistentForm
from ..policy import get_policy
from . import consent, identity, lifetimes
from .models import Consent

#: The values of the field ``access``.
FULL: Final = "all"
READ: Final = "read"


class ProjectsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    def clean(self, value: Any) -> Any:
        try:
            return super().clean(value)
        except OverflowError:  # SQLite raises it for a number too big to be an ID
            raise forms.ValidationError(
                self.error_messages["invalid_choice"],
                code="invalid_choice",
                params={"value": max(value, key=len)},
            ) from None


class ReachFields(ConsistentForm):
    """Form fields that select the projects of an application: all, or only some."""

    NO_PROJECT = _("Select at least one project, or allow all projects.")

    reach = forms.ChoiceField(
        label=_("Projects"),
        choices=[(ALL, _("All your projects, including future ones")),
                 (SELECTED, _("Only these:"))],
        widget=forms.RadioSelect,
        initial=ALL,
        required=False,
    )  # fmt: skip
    #: Empty means everything: a page of version 1.0 has no such field.
    access = forms.ChoiceField(
        label=_("Permissions"),
        choices=[(FULL, _("Everything listed here")), (READ, _("Read only for now"))],
        widget=forms.RadioSelect,
        initial=FULL,
        required=False,
    )
    projects: Any = ProjectsField(
        queryset=Consent.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        label=_("Projects"),
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["projects"]
        field.queryset = get_policy().projects(user)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if self.is_allowed():
            self.clean_reach_and_projects()
        return data

    def is_allowed(self) -> bool:
        """Return whether the user chose to authorize the application."""
        raise NotImplementedError

    @property
    def selected(self) -> list[Any] | None:
        """The selected projects; ``None`` for all."""
        chosen = list(self.cleaned_data.get("projects") or ())
        if self.cleaned_data.get("reach") == SELECTED or (chosen and not self.data.get("reach")):
            return chosen
        return None

    def granted(self, names: Sequence[str]) -> list[str]:
        """Return the part of ``names`` that the user allows."""
        if self.cleaned_data.get("access") == READ:
            return consent.read_only(names)
        return list(names)


def facts(user: Any, application: Any, names: Iterable[str], uri: str = "") -> dict[str, Any]:
    """Return the template context of the page on which ``application`` requests ``names``.

    ``uri`` is the redirect URI; empty for a device.
    """
    if application is None:
        return consent.told(names, user, "")
    offered = consent.allowed(names, user, application.client_id)
    had = scopes.join(
        name for each in consent.given(user, application) for name in each.scope.split()
    )
    new = [name for name in offered if name not in scopes.expand(had)]
    reading = consent.read_only(offered)
    return consent.told(names, user, application.client_id) | {
        "identity": (who := identity.of(application)),
        "registered": who.sentence(user),
        "destination": identity.destination(uri) if uri else None,
        "duration": duration(application),
        "new_descriptions": consent.described(new) if had else [],
        "had_descriptions": consent.described(had.split()),
        "offers_read_only": bool(reading) and scopes.expand(scopes.join(offered)) != set(reading),
        "reading_descriptions": consent.described(reading),
        "url_of_applications": url_of_applications(),
    }


def initial(user: Any, application: Any) -> dict[str, Any]:
    """Return the projects of the latest consent, so that the form adds none unseen."""
    latest = consent.given(user, application).first() if application is not None else None
    if latest is None or latest.all_projects:
        return {}
    return {"reach": SELECTED, "projects": [each.pk for each in latest.projects.all()]}


def duration(application: Any) -> str:
    """Return how long the consent lasts, as a sentence."""
    span = lifetimes.longest_pause(application)
    if span is None:
        return gettext("Until you revoke it.")
    now = timezone.now()
    words = {"time": timeuntil(now + span, now, depth=1)}
    return gettext("Until you revoke it, or until it is not used for %(time)s.") % words


def url_of_applications() -> str:
    """Return the path of the user's authorized applications, or an empty string."""
    try:
        return reverse("apikeys_oauth:authorized")
    except NoReverseMatch:  # the settings pages are not mounted
        return ""
