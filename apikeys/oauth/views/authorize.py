from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.http import HttpResponse
from django.utils.http import urlencode
from oauth2_provider import views
from oauth2_provider.http import OAuth2ResponseRedirect
from oauth2_provider.models import get_application_model
from oauth2_provider.settings import oauth2_settings

#: Hosts to which plain http goes no further than this machine (RFC 8252 section 7.3).
LOOPBACK = ("127.0.0.1", "::1")


class AuthorizationView(views.AuthorizationView):
    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """To a native app's loopback too, where plain http is right (RFC 8252 section 8.3)."""
        target = urlsplit(redirect_to)
        if "error" in (params := parse_qs(target.query)) and "iss" not in params:
            # RFC 9207 section 2: errors name the issuer as well.
            issuer = oauth2_settings.oauth2_authorization_server_issuer(self.request)
            redirect_to += "&" + urlencode({"iss": issuer})
        if application is None:
            application = self._application_of(redirect_to)
        if application is not None and target.scheme == "http" and target.hostname in LOOPBACK:
            response: HttpResponse = OAuth2ResponseRedirect(redirect_to, ["http"])
        else:
            response = super().redirect(redirect_to, application)
        return response

    def _application_of(self, redirect_to: str) -> Any:
        """DOT names none for an error of the request; oauthlib has checked the address by then."""
        client_id = self.request.GET.get("client_id", "")
        found = get_application_model()._default_manager.filter(client_id=client_id).first()
        base = redirect_to.partition("?")[0]
        return found if found is not None and found.redirect_uri_allowed(base) else None
