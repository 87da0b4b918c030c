from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from django.http import HttpRequest, HttpResponse
from django.utils.http import urlencode
from oauth2_provider import views
from oauth2_provider.exceptions import OAuthToolkitError
from oauth2_provider.forms import AllowForm
from oauth2_provider.http import OAuth2ResponseRedirect
from oauth2_provider.models import get_application_model
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749.errors import InvalidScopeError

from .. import consent
from ..targets import LOOPBACK


class AllowedForm(consent.ReachFields, AllowForm):
    def is_allowed(self) -> bool:
        return bool(self.cleaned_data.get("allow"))


class AuthorizationView(views.AuthorizationView):
    """The consent page: which client, what in words, and in which projects."""

    template_name = "apikeys_oauth/authorize.html"
    form_class = AllowedForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guarded(cast("HttpResponse", super().dispatch(request, *args, **kwargs)))

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Nothing tells one public client from another, so all are asked about (RFC 8252 8.6)."""
        parameters: Any = request.GET.copy()
        public = get_application_model()._default_manager.filter(client_type="public")
        if public.filter(client_id=parameters.get("client_id", "")).exists():
            parameters["approval_prompt"] = "force"
            request.GET = parameters
        return cast("HttpResponse", super().get(request, *args, **kwargs))

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        return kwargs | {"user": self.request.user}

    def form_valid(self, form: AllowedForm) -> HttpResponse:
        self.projects = form.selected
        return cast("HttpResponse", super().form_valid(form))

    def form_invalid(self, form: AllowedForm) -> HttpResponse:
        client_id = form.data.get("client_id", "")
        application = get_application_model()._default_manager.filter(client_id=client_id).first()
        context = self.get_context_data(
            form=form, application=application, scopes=form.data.get("scope", "").split()
        )
        return cast("HttpResponse", self.render_to_response(context, status=422))

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        client_id = getattr(kwargs.get("application"), "client_id", "")
        return context | consent.told(kwargs.get("scopes") or (), self.request.user, client_id)

    def create_authorization_response(
        self, request: HttpRequest, scopes: str, credentials: dict[str, Any], allow: bool
    ) -> Any:
        names = consent.allowed((scopes or "").split(), request.user, credentials["client_id"])
        if allow and not names:
            raise OAuthToolkitError(
                error=InvalidScopeError(
                    "None of the scopes is the user's to give.", state=credentials.get("state")
                ),
                redirect_uri=credentials["redirect_uri"],
            )
        if request.method == "POST":
            projects = self.projects
        else:  # the user is not asked (again)
            applications = get_application_model()._default_manager
            application = applications.get(client_id=credentials["client_id"])
            projects = consent.latest_projects(request.user, application)
        credentials["apikeys_projects"] = projects
        return super().create_authorization_response(request, " ".join(names), credentials, allow)

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


def guarded(response: HttpResponse) -> HttpResponse:
    """No cache keeps the page, and nothing frames it (RFC 9700 section 4.16).

    Its form may lead anywhere: browsers hold the client's redirect URI to ``form-action``.
    """
    response["Content-Security-Policy"] = (
        "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    response["Cache-Control"] = "no-store, private"
    response["Referrer-Policy"] = "same-origin"
    response["X-Content-Type-Options"] = "nosniff"
    return response
