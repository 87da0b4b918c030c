from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from ...web.sudo import get_sudo
from ...web.views.pages import SettingsPage


class Confirmed(SettingsPage):
    """Base class of pages that need a recent login and a confirmation to end something."""

    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.ask(self.find())

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        application = self.find()
        if not self.is_recent or request.POST.get("confirm") != "yes":
            return self.ask(application)
        return self.end(application)

    def ask(self, application: Any) -> HttpResponse:
        if not self.is_recent:
            return HttpResponseRedirect(get_sudo().url(self.request, self.here()))
        return self.page("oauth/confirm", application=application, **self.question(application))

    def find(self) -> Any:
        raise NotImplementedError

    def here(self) -> str:
        """Return the path to return to after the login."""
        return self.request.path

    def question(self, application: Any) -> dict[str, Any]:
        """Return the template context: ``title``, ``lead``, ``action`` and the URL ``back``."""
        raise NotImplementedError

    def end(self, application: Any) -> HttpResponse:
        raise NotImplementedError
