"""The pages of the applications that a user authorized: list, narrow and revoke them."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from oauth2_provider.models import get_application_model

from ...templatetags.apikeys_pages import quoted
from ...web.views.pages import SettingsPage
from .. import authorizations, consent, consent_page, events, identity, narrowing
from . import listing
from .confirmed import Confirmed
from .forms import NarrowForm


def row_of(each: authorizations.Authorization) -> dict[str, Any]:
    """Return the template context of an authorization."""
    return {
        "each": each,
        "scopes": consent.described(each.scopes),
        "names": list(zip(each.scopes, consent.described(each.scopes), strict=True)),
        "identity": identity.of(each.application),
    }


class Authorized(SettingsPage):
    """List the applications that the user has authorized."""

    section = "authorized"

    def get(self, request: HttpRequest) -> HttpResponse:
        words = listing.words_of(request)
        found = [
            each
            for each in authorizations.live(user=request.user)
            if _matches(each.application, words)
        ]
        page = listing.page_of(request, found)
        rows = [row_of(each) for each in page.rows]
        return self.page("oauth/authorized", rows=rows, page=page, q=words)


def _matches(application: Any, words: str) -> bool:
    names = (identity.of(application).title, application.name, application.client_id)
    return any(words.casefold() in name.casefold() for name in names)


class Narrow(SettingsPage):
    """Show the access of one application, and take a part of it back.

    It needs no recent login, because it adds nothing.
    """

    section = "authorized"

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        each = self.find()
        return self.form_page(each, NarrowForm(authorization=each))

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        each = self.find()
        if not each.is_narrowable:
            return self.refused(_("This access can only be revoked."), 409, url=request.path)
        form = NarrowForm(request.POST, authorization=each)
        if not form.is_valid():
            return self.form_page(each, form, 422)
        changes = narrowing.narrow(
            self.user,
            each.application,
            names=form.cleaned_data["scopes"],
            projects=form.selected,
            by=self.user,
        )
        done = _("Saved. The change applies to the next request of %(name)s.")
        if not changes:
            done = _("The access of %(name)s was not changed.")
        name = identity.of(each.application).title
        return self.go(reverse("apikeys_oauth:authorized"), done % {"name": quoted(name)})

    def find(self) -> authorizations.Authorization:
        """Return the authorization. Raise ``Http404`` unless the user gave it, and it is active."""
        found = authorizations.live(user=self.user)
        each = next((each for each in found if each.application.pk == self.kwargs["pk"]), None)
        if each is None:
            raise Http404
        return each

    def form_page(
        self, each: authorizations.Authorization, form: NarrowForm, status: int = 200
    ) -> HttpResponse:
        who = identity.of(each.application)
        return self.page(
            "oauth/narrow",
            status,
            row=row_of(each),
            form=form,
            registered=who.sentence(self.user),
            duration=consent_page.duration(each.application),
            login=events.last_login(each.application, self.user),
        )


class Leave(Confirmed):
    """Revoke the access of an application."""

    section = "authorized"

    def find(self) -> Any:
        return get_object_or_404(get_application_model(), pk=self.kwargs["pk"])

    def question(self, application: Any) -> dict[str, Any]:
        name = identity.of(application).title
        return {
            "title": _("Revoke access for %(name)s?") % {"name": quoted(name)},
            "lead": _(
                "The next request of %(name)s on your behalf is refused, and it is logged out on "
                "all devices. Tokens and keys that it created are revoked too. You can authorize "
                "it again later."
            )
            % {"name": quoted(name)},
            "action": _("Revoke"),
            "back": reverse("apikeys_oauth:authorized"),
            "crumb": _("Authorized applications"),
        }

    def end(self, application: Any) -> HttpResponse:
        authorizations.end(application, self.user, by=self.user)
        done = _("Revoked access for %(name)s.")
        name = identity.of(application).title
        return self.go(reverse("apikeys_oauth:authorized"), done % {"name": quoted(name)})
