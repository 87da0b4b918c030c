"""What a user allows an application: scopes that are theirs to give, and in which projects."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from oauth2_provider.scopes import get_scopes_backend

from .. import lifecycle
from ..conf import app_settings
from .models import Consent, TokenOrigin
from .scopes import registration_scope

ALL, SELECTED = "all", "selected"


def allowed(names: Iterable[str], user: Any, client_id: str) -> list[str]:
    """Those of ``names`` that ``user`` may give this client; nobody asks for more."""
    own = _own(names, user)
    held_back = withheld(own, user, client_id)
    return [name for name in own if name not in held_back]


def withheld(names: Iterable[str], user: Any, client_id: str) -> list[str]:
    """Those that are the user's own, but take an approval: keys await one, and clients cannot.

    The site's own pages need none, as they act for the user with all that is theirs.
    """
    if client_id in app_settings.FIRST_PARTY_CLIENTS:
        return []
    return [name for name in _own(names, user) if lifecycle.to_approve(user, name)]


def _own(names: Iterable[str], user: Any) -> list[str]:
    grantable = app_settings.POLICY.grantable(user)
    return [name for name in names if name in grantable or name == registration_scope()]


def described(names: Iterable[str]) -> list[str]:
    words = get_scopes_backend().get_all_scopes()
    known = {*words, registration_scope()}
    return [str(words[name]) if name in known else name for name in names]


def told(names: Iterable[str], user: Any, client_id: str) -> dict[str, list[str]]:
    """What a consent page says of the scopes that a client asks for."""
    names = list(names)
    return {
        "scopes_descriptions": described(allowed(names, user, client_id)),
        "withheld_descriptions": described(withheld(names, user, client_id)),
    }


def record(
    user: Any,
    application: Any,
    scope: str,
    projects: Iterable[Any] | None,
    **found_by: Any,
) -> Consent:
    """Write down a consent; ``projects`` is ``None`` for all that the user is in."""
    consent = Consent.objects.create(
        user=user,
        application=application,
        scope=scope,
        all_projects=projects is None,
        **found_by,
    )
    consent.projects.set(projects or ())
    return consent


def latest_projects(user: Any, application: Any) -> list[Any] | None:
    """What the user chose last time: it holds where they are not asked again."""
    consents = Consent.objects.filter(user=user, application=application)
    last = consents.order_by("-pk").first()
    return None if last is None or last.all_projects else list(last.projects.all())


def of_request(request: Any) -> Any:
    """The primary key of the consent that the token of this request hangs on, or ``None``."""
    consents = Consent.objects.order_by("-pk").values_list("pk", flat=True)
    if request.grant_type == "authorization_code":
        return consents.filter(code__code=request.code, application=request.client).first()
    if (device := getattr(request, "device_grant", None)) is not None:
        return consents.filter(device=device, application=request.client).first()
    return getattr(request, "apikeys_consent_id", None)


def of_refresh_token(refresh_token: Any) -> Any:
    """The primary key of the consent that a refresh token goes on with, or ``None``."""
    origins = TokenOrigin.objects.filter(access_token=refresh_token.access_token_id)
    return origins.values_list("consent", flat=True).first()


class ProjectsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    def clean(self, value: Any) -> Any:
        try:
            return super().clean(value)
        except OverflowError:  # what SQLite says of a number that no project has
            raise forms.ValidationError(
                self.error_messages["invalid_choice"],
                code="invalid_choice",
                params={"value": max(value, key=len)},
            ) from None


class ReachFields(forms.Form):
    """In which projects: all of the user's, now and later, or some."""

    reach = forms.ChoiceField(
        label=_("Projects"),
        choices=[(ALL, _("All projects that you are in, now and later")),
                 (SELECTED, _("Only these:"))],
        widget=forms.RadioSelect,
        initial=ALL,
        required=False,
    )  # fmt: skip
    projects: Any = ProjectsField(
        queryset=Consent.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        label=_("Projects"),
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["projects"]
        field.queryset = app_settings.POLICY.projects(user)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        chosen = data.get("projects")
        if data.get("reach") == SELECTED and not chosen and self.is_allowed():
            self.add_error("projects", gettext("Select at least one project, or allow all."))
        return data

    def is_allowed(self) -> bool:
        raise NotImplementedError

    @property
    def selected(self) -> list[Any] | None:
        chosen = list(self.cleaned_data.get("projects") or ())
        if self.cleaned_data.get("reach") == SELECTED or (chosen and not self.data.get("reach")):
            return chosen
        return None
