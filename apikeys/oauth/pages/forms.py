from datetime import timedelta
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import get_application_model
from oauth2_provider.settings import oauth2_settings

from ... import scopes
from ...conf import app_settings
from ...databases import transactions
from ...keys.forms import ALL, SELECTED, ConsistentForm
from ...models import get_project_model, naming
from ...policy import get_policy
from ...web.widgets import ScopesWidget
from .. import consent, own_clients, registration
from ..authorizations import Authorization
from ..consent_page import ProjectsField
from ..device import GRANT_TYPE as DEVICE
from ..models import ClientSettings, Consent, TokenLifetime
from ..registration import RegistrationError
from ..signals import client_edited

_NUMBER: Final = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})

#: The purpose of each grant type, by its name in RFC 7591.
_GRANTS: Final = {
    "authorization_code": _("Authorization code with PKCE: users log in with their browser"),
    DEVICE: _("Device code: users log in with a browser on another device"),
    "client_credentials": _("Client credentials: it acts on your behalf without a browser"),
}

#: The values of the field ``limit``.
ANY, ONLY = "any", "selected"


class ClientForm(ConsistentForm):
    """Register or edit a client. ``registration.check`` decides what is valid."""

    NO_PROJECT = _("Select at least one project.")

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        help_text=_("Shown to users when they authorize the application."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    description = forms.CharField(
        label=_("Description"),
        max_length=500,
        required=False,
        help_text=_("Optional. What the application does. Shown on the same page."),
        widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off"}),
    )
    homepage = forms.CharField(
        label=_("Homepage"),
        max_length=500,
        required=False,
        help_text=_("Optional. Where users can read about the application: https://…"),
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "url"}),
    )
    client_type = forms.ChoiceField(
        label=_("Type"),
        choices=[
            ("confidential", _("Confidential: runs on a server and can keep a secret")),
            ("public", _("Public: runs in a browser, on a phone or on a desktop")),
        ],
        widget=forms.RadioSelect,
        initial="confidential",
    )
    grant_types = forms.MultipleChoiceField(
        label=_("Grant types"), widget=forms.CheckboxSelectMultiple, required=False
    )
    redirect_uris = forms.CharField(
        label=_("Redirect URIs"),
        help_text=_("One per line: https://…, or http://127.0.0.1/… for a desktop program."),
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
        required=False,
    )
    #: Empty keeps the projects: a page of version 1.0 has no such field.
    reach = forms.ChoiceField(
        label=_("Projects"),
        choices=[(ALL, _("All your projects, including future ones")),
                 (SELECTED, _("Only selected projects"))],
        widget=forms.RadioSelect,
        initial=ALL,
        required=False,
    )  # fmt: skip
    projects = ProjectsField(
        label=_("Selected projects"),
        queryset=Consent.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        error_messages={"invalid_choice": _("You are not a member of this project.")},
    )
    #: Empty keeps the limit: a page of version 1.0 has no such field.
    limit = forms.ChoiceField(
        label=_("Maximum permissions"),
        choices=[(ANY, _("Everything that users can grant")), (ONLY, _("Only these permissions"))],
        widget=forms.RadioSelect,
        initial=ANY,
        required=False,
    )
    scopes = forms.MultipleChoiceField(
        label=_("Permissions"),
        widget=ScopesWidget,
        required=False,
        error_messages={"invalid_choice": _("This site does not offer the scope %(value)s.")},
    )
    access_token_minutes = forms.IntegerField(
        label=_("Access token lifetime (minutes)"),
        required=False,
        min_value=1,
        widget=_NUMBER,
    )
    refresh_token_days = forms.IntegerField(
        label=_("Refresh token lifetime (days)"),
        required=False,
        min_value=1,
        max_value=3650,
        help_text=_("Leave empty for the lifetimes of this site."),
        widget=_NUMBER,
    )

    def __init__(
        self,
        data: Any = None,
        *,
        user: Any,
        application: Any = None,
        client_id: str | None = None,
    ) -> None:
        initial: dict[str, Any] = {"grant_types": ["authorization_code"]}
        self.settings = getattr(application, "apikeys_settings", None)
        most = self.settings.max_scope if self.settings else ""
        if application is not None:
            initial = {
                "name": application.name,
                "client_type": application.client_type,
                "grant_types": registration.grants_of(application),
                "redirect_uris": "\n".join(application.redirect_uris.split()),
                "description": self.settings.description if self.settings else "",
                "homepage": self.settings.homepage if self.settings else "",
                "limit": ONLY if most else ANY,
                "scopes": most.split(),
                **_lifetimes(application),
            }
        super().__init__(data, initial=initial)
        self.user, self.application, self.client_id = user, application, client_id
        fields: Any = self.fields
        fields["grant_types"].choices = [
            (name, _GRANTS.get(name, name)) for name in registration.grant_types(user)
        ]
        offered = [*scopes.declared(), *scopes.unknown(most.split())]
        fields["scopes"].choices = [(name, name) for name in offered]
        longest = oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS // 60
        fields["access_token_minutes"].widget.attrs["placeholder"] = str(longest)
        fields["access_token_minutes"].help_text = _("At most %(longest)d.") % {"longest": longest}
        if application is not None:
            fields["client_type"].disabled = True
        self._offer_projects()

    def _offer_projects(self) -> None:
        """Offer the projects in which the client acts for its owner (client credentials)."""
        fields: Any = self.fields
        is_offered = own_clients.GRANT in registration.grant_types(self.user)
        if self.application is not None and own_clients.GRANT in self.initial["grant_types"]:
            given = own_clients.consent_of(self.application)
            is_offered = is_offered and given is not None  # else the owner has revoked it
            if given is not None and (had := consent.projects_of(given)) is not None:
                self.initial.update(reach=SELECTED, projects=[each.pk for each in had])
        if is_offered:
            fields["projects"].queryset = get_policy().projects(self.user)
        else:
            del fields["reach"], fields["projects"]

    @property
    def selected(self) -> list[Any] | None:
        """The projects in which the client acts for its owner; ``None`` for all."""
        chosen = list(self.cleaned_data.get("projects") or ())
        return chosen if chosen and self.cleaned_data.get("reach") != ALL else None

    def clean_access_token_minutes(self) -> int | None:
        minutes: int | None = self.cleaned_data["access_token_minutes"]
        longest = oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS // 60
        if minutes is not None and minutes > longest:
            message = _("Enter at most %(longest)d minutes, the maximum on this site.")
            raise forms.ValidationError(message, params={"longest": longest})
        return minutes

    def clean_homepage(self) -> str:
        text: str = self.cleaned_data["homepage"].strip()
        if text and not (text.startswith("https://") and registration.is_redirect_uri(text)):
            raise forms.ValidationError(_("Enter an address that begins with https://."))
        return text

    def clean_description(self) -> str:
        text = " ".join(self.cleaned_data["description"].split())
        if text and not naming.is_readable(text):
            message = _("Enter text without characters that change the text direction.")
            raise forms.ValidationError(message)
        return text

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if data.get("limit") == ONLY and not data.get("scopes") and "scopes" not in self.errors:
            self.add_error("scopes", _("Choose at least one permission."))
        if "reach" in self.fields and own_clients.GRANT in data.get("grant_types", ()):
            self.clean_reach_and_projects()
        if self.errors:
            return data
        model = get_application_model()
        self.before = {} if self.application is None else self.facts()
        checked = self.application or model(user=self.user)
        if self.client_id is not None:
            checked.client_id = self.client_id
        checked.name = data["name"].strip()
        checked.client_type = data["client_type"]
        checked.redirect_uris = " ".join(data["redirect_uris"].split())
        grants = data["grant_types"]
        first = registration.DOT_GRANTS.get(grants[0] if grants else "", "")
        checked.authorization_grant_type = first
        try:
            registration.check(checked, self.user, grants=grants, is_new=self.application is None)
        except RegistrationError as error:
            self.add_error(error.field if error.field in self.fields else None, error.message)
        self.checked = checked
        return data

    def save(self) -> str | None:
        """Save the client. Return the secret of a new confidential client, or ``None``."""
        data = self.cleaned_data
        model = get_application_model()
        limited = data["limit"] == ONLY
        names = data["scopes"] if limited else registration.default_scopes()
        with transactions.atomic(model):
            secret = registration.save(
                self.checked,
                data["grant_types"],
                new_secret=self.application is None,
                grants_before=self.initial["grant_types"],  # those that are stored
                own=(names, self.selected),
            )
            is_own = self.application is not None and own_clients.GRANT in data["grant_types"]
            if is_own and (data.get("reach") or self.selected):
                own_clients.set_projects(self.application, self.selected)
            if is_own and limited and (most := self.initial["scopes"]):
                # Not those of before: the owner may have taken them back since.
                own_clients.add_scopes(self.application, set(names) - scopes.expand(" ".join(most)))
            said = {"description": data["description"], "homepage": data["homepage"]}
            if data["limit"]:
                said["max_scope"] = scopes.join(data["scopes"]) if limited else ""
            self.settings, _made = ClientSettings.objects.update_or_create(
                application=self.checked, defaults=said
            )
            self._save_lifetimes()
            if self.application is not None:
                self._tell()
        return secret

    def _save_lifetimes(self) -> None:
        data = self.cleaned_data
        minutes, days = data["access_token_minutes"], data["refresh_token_days"]
        TokenLifetime.objects.update_or_create(
            application=self.checked,
            grant_type="",
            defaults={
                "access_token_seconds": minutes and minutes * 60,
                "refresh_token_seconds": days and days * 24 * 60 * 60,
            },
        )

    def facts(self) -> dict[str, Any]:
        """Return the editable facts of the client as plain values, for the audit log."""
        application, settings = self.application, self.settings
        most = settings.max_scope if settings else ""
        return {
            "name": application.name,
            "grant_types": registration.grants_of(application),
            "redirect_uris": application.redirect_uris.split(),
            "description": settings.description if settings else "",
            "homepage": settings.homepage if settings else "",
            "max_scopes": most.split(),
            "access_token_minutes": None,
            "refresh_token_days": None,
            **_lifetimes(application),
        }

    def _tell(self) -> None:
        self.application.apikeys_settings = self.settings
        after = self.facts()
        changes = {name: (was, after[name]) for name, was in self.before.items()
                   if was != after[name]}  # fmt: skip
        if changes:
            client_edited.send(
                type(self.application), application=self.application, by=self.user, changes=changes
            )


def _lifetimes(application: Any) -> dict[str, int]:
    found = TokenLifetime.objects.filter(application=application, grant_type="").first()
    initial = {}
    if found is not None and found.access_token_seconds:
        initial["access_token_minutes"] = found.access_token_seconds // 60
    if found is not None and found.refresh_token_seconds:
        initial["refresh_token_days"] = found.refresh_token_seconds // (24 * 60 * 60)
    return initial


class RotateForm(forms.Form):
    overlap = forms.TypedChoiceField(
        label=_("The old secret stops working"), coerce=int, widget=forms.RadioSelect
    )

    def __init__(self, data: Any = None) -> None:
        default = app_settings.ROTATION_OVERLAP
        super().__init__(data, initial={"overlap": int(default.total_seconds())})
        spans = [
            (timedelta(0), _("now")),
            (timedelta(hours=1), _("after 1 hour")),
            (timedelta(days=1), _("after 24 hours")),
            (timedelta(days=7), _("after 7 days")),
        ]
        fields: Any = self.fields
        fields["overlap"].choices = [(int(s.total_seconds()), words) for s, words in spans]


class NarrowForm(ConsistentForm):
    """Keep a part of an application's access. It offers only what the application has."""

    NO_PROJECT = _("Select at least one project. To end all access, revoke it.")

    scopes = forms.MultipleChoiceField(
        label=_("Permissions"),
        widget=ScopesWidget,
        error_messages={
            "required": _("Keep at least one permission. To end all access, revoke it."),
            "invalid_choice": _("The application does not have the permission %(value)s."),
        },
    )
    reach = forms.ChoiceField(
        label=_("Projects"),
        choices=[(ALL, _("All your projects, including future ones")),
                 (SELECTED, _("Only selected projects"))],
        widget=forms.RadioSelect,
    )  # fmt: skip
    projects = ProjectsField(
        label=_("Selected projects"),
        queryset=Consent.objects.none(),
        widget=forms.CheckboxSelectMultiple,
        required=False,
        error_messages={"invalid_choice": _("The application has no access to this project.")},
    )

    def __init__(self, data: Any = None, *, authorization: Authorization) -> None:
        held, projects = list(authorization.scopes), authorization.projects
        initial = {"scopes": held, "reach": ALL, "projects": [p.pk for p in projects or ()]}
        super().__init__(data, initial=initial)
        fields: Any = self.fields
        within = scopes.expand(scopes.join(held))
        offered = [name for name in scopes.declared() if name in within]
        fields["scopes"].choices = [(n, n) for n in (*offered, *scopes.unknown(held))]
        if projects is None:
            fields["projects"].queryset = get_policy().projects(authorization.user)
        else:  # it cannot go back to all
            del fields["reach"]
            kept = get_project_model()._default_manager.filter(pk__in=[p.pk for p in projects])
            fields["projects"].queryset = kept.order_by("pk")
            fields["projects"].label = _("Projects")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or self.cleaned_data
        if "reach" in self.fields:
            self.clean_reach_and_projects()
        elif not self._sent("projects"):
            self.add_error("projects", self.NO_PROJECT)
        return data

    @property
    def selected(self) -> list[Any] | None:
        """The projects to keep; ``None`` to keep all."""
        if self.cleaned_data.get("reach") == ALL:
            return None
        return list(self.cleaned_data["projects"])
