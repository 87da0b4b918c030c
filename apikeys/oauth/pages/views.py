import json
import shlex
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.generators import generate_client_id
from oauth2_provider.models import get_application_model

from ...databases import transactions
from ...keys import once
from ...templatetags.apikeys_pages import quoted
from ...web.views.pages import SettingsPage
from .. import authorizations, consent, registration
from ..device import GRANT_TYPE as DEVICE
from . import listing
from .confirmed import Confirmed
from .forms import ClientForm, RotateForm

_SALT_OF_CLIENTS: Final = "apikeys.oauth.client"
_SALT_OF_SECRETS: Final = "apikeys.oauth.secret"


class OwnPage(SettingsPage):
    """Base class of pages about the user's clients. Clients of other users are not found."""

    section = "clients"
    entered = frozenset({*ClientForm.base_fields, *RotateForm.base_fields})

    def own(self) -> Any:
        applications = get_application_model()._default_manager.filter(user=self.user)
        return applications.order_by("-created", "-pk").select_related("apikeys_settings")

    def find(self) -> Any:
        return get_object_or_404(self.own(), pk=self.kwargs["pk"])

    @sensitive_variables()
    def secret_page(
        self, application: Any, secret: str, *, old_until: datetime | None = None
    ) -> HttpResponse:
        """Return the only response that contains the secret.

        ``old_until`` is the end of the secret that it replaces.
        """
        return self.page(
            "oauth/secret",
            application=application,
            secret=secret,
            old_until=old_until,
            examples=_examples(self.request, application, secret),
        )


@dataclass(frozen=True)
class _Example:
    """A request with the secret. Its ``repr`` hides the secret, because Django logs contexts."""

    name: str
    label: str
    code: str = field(repr=False)

    @property
    def rows(self) -> int:
        return self.code.count("\n") + 3


@sensitive_variables()
def _examples(request: HttpRequest, application: Any, secret: str) -> list[_Example]:
    """Return a request for a token, with curl and in Python."""
    url = request.build_absolute_uri(reverse("oauth2_provider:token"))
    grants = registration.grants_of(application)
    if "client_credentials" in grants:
        sent = {"grant_type": "client_credentials"}
    elif "authorization_code" in grants:
        uri = application.redirect_uris.split()[0]
        sent = {"grant_type": "authorization_code", "code": "CODE", "code_verifier": "VERIFIER"}
        sent["redirect_uri"] = uri
    else:
        sent = {"grant_type": DEVICE, "device_code": "DEVICE_CODE"}
    name = application.client_id
    options = "".join(f" \\\n  -d {shlex.quote(f'{key}={value}')}" for key, value in sent.items())
    curl = f"curl -u {shlex.quote(f'{name}:{secret}')}{options} \\\n  {url}"
    python = (
        "import requests\n\n"
        f"response = requests.post({json.dumps(url)},\n"
        f"    auth=({json.dumps(name)}, {json.dumps(secret)}),\n"
        f"    data={json.dumps(sent)}, timeout=10)\n"
        "print(response.status_code, response.json())"
    )
    return [_Example("curl", "curl", curl), _Example("python", "Python", python)]


class ClientList(OwnPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        words = listing.words_of(request)
        found = self.own()
        if words:
            found = found.filter(
                Q(name__icontains=words)
                | Q(client_id__icontains=words)
                | Q(apikeys_settings__description__icontains=words)
            )
        page = listing.page_of(request, found)
        clients = page.rows
        users = authorizations.number_of_users(clients)
        rows = [
            {
                "client": each,
                "users": users[each.pk],
                "description": getattr(getattr(each, "apikeys_settings", None), "description", ""),
            }
            for each in clients
        ]
        return self.page("oauth/clients", clients=clients, rows=rows, page=page, q=words)


class Register(OwnPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        if not self.is_recent:
            return self.ask_who()
        return self.form_page(ClientForm(self.draft(), user=self.user))

    @sensitive_variables()
    def post(self, request: HttpRequest) -> HttpResponse:
        if not self.is_recent:
            return self.ask_who()
        client_id = self.once()
        if client_id and (made := self.own().filter(client_id=client_id).first()):
            return self.made_already(made)
        form = ClientForm(request.POST, user=self.user, client_id=client_id)
        if not form.is_valid():
            return self.form_page(form, 422)
        if client_id is None:
            form.add_error(None, _("This form has expired. Check it and submit it again."))
            return self.form_page(form, 422)
        try:
            with transactions.atomic(get_application_model()):
                secret = form.save()
        except IntegrityError:  # the same form was submitted twice at the same moment
            return self.made_already(get_object_or_404(self.own(), client_id=client_id))
        if secret is not None:
            return self.secret_page(form.checked, secret)
        url = reverse("apikeys_oauth:client", args=[form.checked.pk])
        return self.go(url, _("Client registered. It is public, so it has no secret."))

    def form_page(self, form: ClientForm, status: int = 200) -> HttpResponse:
        # The form contains the client's ID, so that one form registers only one client.
        signed = once.sign([generate_client_id(), str(self.user.pk)], _SALT_OF_CLIENTS)
        return self.page("oauth/client", status, form=form, once=signed)

    def once(self) -> str | None:
        """Return the client ID in the submitted form; ``None`` if another user got the form."""
        said = once.read(self.request.POST.get("once", ""), _SALT_OF_CLIENTS)
        return said[0] if said and said[1:] == [str(self.user.pk)] else None

    def made_already(self, application: Any) -> HttpResponse:
        message = _(
            "This form already registered %(name)s. Its secret was shown once and cannot be shown "
            "again."
        )
        url = reverse("apikeys_oauth:client", args=[application.pk])
        return self.refused(message % {"name": quoted(application)}, 409, url=url)


class Edit(OwnPage):
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        form = ClientForm(self.draft(), user=self.user, application=application)
        return self.form_page(application, form)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        # Require a recent login: a changed redirect URI decides who gets the codes.
        if not self.is_recent:
            return self.ask_who()
        form = ClientForm(request.POST, user=self.user, application=self.find())
        if not form.is_valid():
            return self.form_page(application, form, 422)
        with transactions.atomic(get_application_model()):
            form.save()
        return self.go(request.path, _("Saved. Changes apply to the next request."))

    def form_page(self, application: Any, form: ClientForm, status: int = 200) -> HttpResponse:
        users = listing.page_of(self.request, authorizations.live(application=application))
        settings = getattr(application, "apikeys_settings", None)
        old_until = settings.previous_secret_expires_at if settings else None
        return self.page(
            "oauth/client",
            status,
            application=application,
            name=application.name if not form.is_bound else self.find().name,
            form=form,
            users=[{"each": each, "scopes": consent.described(each.scopes)} for each in users.rows],
            page=users,
            old_until=old_until if old_until and old_until > timezone.now() else None,
        )


class Rotate(OwnPage):
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        if application.client_type != application.CLIENT_CONFIDENTIAL:
            return self.go(reverse("apikeys_oauth:client", args=[pk]))
        if not self.is_recent:
            return self.ask_who()
        return self.form_page(application, RotateForm())

    @sensitive_variables()
    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        if application.client_type != application.CLIENT_CONFIDENTIAL:
            return self.refused(_("A public client has no secret."), 409)
        if not self.is_recent:
            return self.ask_who()
        form = RotateForm(request.POST)
        said = once.read(request.POST.get("once", ""), _SALT_OF_SECRETS)
        if not form.is_valid() or said is None:
            return self.form_page(application, form, 422)
        overlap = timedelta(seconds=form.cleaned_data["overlap"])
        secret = None
        if said == self.to_replace(application):
            secret = registration.rotate_secret(application, overlap, by=self.user)
        if secret is None:
            message = _(
                "The secret changed after you opened this form. The new secret was shown once and "
                "cannot be shown again."
            )
            url = reverse("apikeys_oauth:client", args=[pk])
            return self.refused(message, 409, url=url)
        old_until = timezone.now() + overlap if overlap else None
        return self.secret_page(application, secret, old_until=old_until)

    def form_page(self, application: Any, form: RotateForm, status: int = 200) -> HttpResponse:
        # The form names the secret that it replaces, so that one form creates only one secret.
        signed = once.sign(self.to_replace(application), _SALT_OF_SECRETS)
        return self.page("oauth/rotate", status, application=application, form=form, once=signed)

    def to_replace(self, application: Any) -> list[str]:
        stored = salted_hmac(_SALT_OF_SECRETS, application.client_secret, algorithm="sha256")
        return [str(application.pk), stored.hexdigest()]


def _users(application: Any) -> str:
    """Return how many users have authorized ``application``, as a sentence."""
    number = authorizations.number_of_users([application])[application.pk]
    if not number:
        return _("No user has authorized it.")
    return ngettext(
        "%(number)d user has authorized it.", "%(number)d users have authorized it.", number
    ) % {"number": number}


class RevokeUsers(OwnPage, Confirmed):
    """Revoke the authorization that one user, or every user, gave to the client."""

    @property
    def username(self) -> str:
        """The user name whose authorization to revoke; empty for all users."""
        request = self.request
        return str(request.POST.get("user") or request.GET.get("user") or "")

    def here(self) -> str:
        query = urlencode({"user": self.username}) if self.username else ""
        return f"{self.request.path}?{query}" if query else self.request.path

    def question(self, application: Any) -> dict[str, Any]:
        names = {"name": quoted(application), "user": self.username}
        title = _("Revoke access for %(name)s for all users?")
        lead = _("It can no longer act on their behalf until they authorize it again.")
        if self.username:
            title = _("Revoke access for %(name)s for %(user)s?")
        else:
            lead = f"{_users(application)} {lead}"
        return {
            "title": title % names,
            "lead": lead,
            "action": _("Revoke"),
            "back": reverse("apikeys_oauth:client", args=[application.pk]),
            "user_to_revoke": self.username,
        }

    def end(self, application: Any) -> HttpResponse:
        user = None
        if self.username:
            users = [each.user for each in authorizations.live(application=application)]
            user = next((u for u in users if u.get_username() == self.username), None)
            if user is None:
                return self.refused(_("This user does not authorize the client any more."), 409)
        authorizations.end(application, user, by=self.user)
        url = reverse("apikeys_oauth:client", args=[application.pk])
        return self.go(url, _("Access revoked."))


class Delete(OwnPage, Confirmed):
    def question(self, application: Any) -> dict[str, Any]:
        return {
            "title": _("Delete %(name)s?") % {"name": quoted(application)},
            "lead": f"{_users(application)} "
            + _("All its tokens stop working, for all users. You cannot undo this."),
            "action": _("Delete client"),
            "back": reverse("apikeys_oauth:client", args=[application.pk]),
        }

    def end(self, application: Any) -> HttpResponse:
        name = str(application)
        authorizations.delete(application, by=self.user)
        done = _("Deleted %(name)s and all its tokens.")
        return self.go(reverse("apikeys_oauth:clients"), done % {"name": quoted(name)})
