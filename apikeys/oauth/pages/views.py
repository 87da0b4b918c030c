from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import get_application_model

from ...web.views import Page
from .. import authorizations, consent, registration
from .forms import ClientForm, RotateForm


class Authorized(Page):
    """The applications that the user has let act for them."""

    section = "authorized"

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = [
            {"each": each, "scopes": consent.described(each.scopes)}
            for each in authorizations.live(user=request.user)
        ]
        return self.page("oauth/authorized", rows=rows)


class Leave(Page):
    section = "authorized"

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = get_object_or_404(get_application_model(), pk=pk)
        authorizations.end(application, request.user)
        done = _("%(name)s acts for you no more, from its next request on.")
        return self.go(reverse("apikeys_oauth:authorized"), done % {"name": application})


class OwnPage(Page):
    """A page about the user's own clients; somebody else's do not exist for them."""

    section = "clients"

    def own(self) -> Any:
        applications = get_application_model()._default_manager.filter(user=self.user)
        return applications.order_by("-created", "-pk").select_related("apikeys_settings")

    def find(self) -> Any:
        return get_object_or_404(self.own(), pk=self.kwargs["pk"])

    @sensitive_variables("secret")
    def secret_page(self, application: Any, secret: str) -> HttpResponse:
        return self.page("oauth/secret", application=application, secret=secret)


class ClientList(OwnPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page("oauth/clients", clients=self.own()[:200])


class Register(OwnPage):
    def get(self, request: HttpRequest) -> HttpResponse:
        if not self.is_recent:
            return self.ask_who()
        return self.page("oauth/client", form=ClientForm(self.draft(), user=self.user))

    @sensitive_variables("secret")
    def post(self, request: HttpRequest) -> HttpResponse:
        if not self.is_recent:
            return self.ask_who()
        form = ClientForm(request.POST, user=self.user)
        if not form.is_valid():
            return self.page("oauth/client", 422, form=form)
        secret = form.save()
        if secret is not None:
            return self.secret_page(form.checked, secret)
        url = reverse("apikeys_oauth:client", args=[form.checked.pk])
        return self.go(url, _("Registered. It is public, so it has no secret."))


class Edit(OwnPage):
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        form = ClientForm(self.draft(), user=self.user, application=application)
        return self.form_page(application, form)

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        # Where its codes go decides who gets them, so this takes a recent log-in.
        if not self.is_recent:
            return self.ask_who()
        form = ClientForm(request.POST, user=self.user, application=self.find())
        if not form.is_valid():
            return self.form_page(application, form, 422)
        form.save()
        return self.go(request.path, _("Saved. It counts from the next request on."))

    def form_page(self, application: Any, form: ClientForm, status: int = 200) -> HttpResponse:
        users = [
            {"each": each, "scopes": consent.described(each.scopes)}
            for each in authorizations.live(application=application)[:200]
        ]
        return self.page("oauth/client", status, application=application, form=form, users=users)


class Rotate(OwnPage):
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        if application.client_type != application.CLIENT_CONFIDENTIAL:
            return self.go(reverse("apikeys_oauth:client", args=[pk]))
        if not self.is_recent:
            return self.ask_who()
        return self.page("oauth/rotate", application=application, form=RotateForm())

    @sensitive_variables("secret")
    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        if application.client_type != application.CLIENT_CONFIDENTIAL:
            return self.refused(_("A public client has no secret."), 409)
        if not self.is_recent:
            return self.ask_who()
        form = RotateForm(request.POST)
        if not form.is_valid():
            return self.page("oauth/rotate", 422, application=application, form=form)
        overlap = timedelta(seconds=form.cleaned_data["overlap"])
        return self.secret_page(application, registration.rotate_secret(application, overlap))


class RevokeUsers(OwnPage):
    """Take from the client what one user, or all of them, let it do."""

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        user = None
        if username := request.POST.get("user"):
            users = [each.user for each in authorizations.live(application=application)]
            user = next((u for u in users if u.get_username() == username), None)
            if user is None:
                return self.refused(_("This user has not authorised it (any more)."), 409)
        authorizations.end(application, user)
        url = reverse("apikeys_oauth:client", args=[pk])
        return self.go(url, _("Revoked, from the next request on."))


class Delete(OwnPage):
    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        authorizations.end(application)
        name = str(application)
        application.delete()
        done = _("%(name)s is deleted, and so are all of its tokens.")
        return self.go(reverse("apikeys_oauth:clients"), done % {"name": name})
