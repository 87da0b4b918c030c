import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.http import urlencode
from oauth2_provider import views
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.forms import AllowForm
from oauth2_provider.http import OAuth2ResponseRedirect
from oauth2_provider.models import get_application_model, get_grant_model
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.uri_validate import is_absolute_uri

from .. import consent, targets
from ..targets import LOOPBACK
from .token import Readable

_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")


class AllowedForm(consent.ReachFields, AllowForm):
    def is_allowed(self) -> bool:
        return bool(self.cleaned_data.get("allow"))


class AuthorizationView(Readable, views.AuthorizationView):
    """The consent page: which client, what in words, and in which projects."""

    template_name = "apikeys_oauth/authorize.html"
    form_class = AllowedForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guarded(super().dispatch(request, *args, **kwargs))

    def unreadable(self, description: str) -> HttpResponse:
        error = FatalClientError(error=errors.InvalidRequestFatalError(description))
        return cast("HttpResponse", self.error_response(error, application=None))

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Nothing tells one public client from another, so all are asked about (RFC 8252 8.6)."""
        parameters: Any = request.GET.copy()
        public = get_application_model()._default_manager.filter(client_type="public")
        if public.filter(client_id=parameters.get("client_id", "")).exists():
            parameters["approval_prompt"] = "force"
            request.GET = parameters
        return cast("HttpResponse", super().get(request, *args, **kwargs))

    def validate_authorization_request(self, request: HttpRequest) -> Any:
        scopes, credentials = super().validate_authorization_request(request)
        _check(credentials, request.GET)
        return scopes, credentials

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        return kwargs | {"user": self.request.user}

    def form_valid(self, form: AllowedForm) -> HttpResponse:
        """A browser sends the fields of the page as it likes: they are checked once more."""
        self.projects = form.selected
        said = form.cleaned_data
        applications = get_application_model()._default_manager
        application = applications.filter(client_id=said["client_id"]).first()
        try:
            if application is None:
                raise FatalClientError(error=errors.InvalidClientIdError())
            if not _is_redirect_uri(application, said["redirect_uri"]):
                raise FatalClientError(error=errors.MismatchingRedirectURIError())
            _check(said, self.request.GET)
        except OAuthToolkitError as error:
            return cast("HttpResponse", self.error_response(error, application))
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
                error=errors.InvalidScopeError(
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


def _is_redirect_uri(application: Any, uri: str) -> bool:
    try:
        return bool(is_absolute_uri(uri) and application.redirect_uri_allowed(uri))
    except ValueError:  # such as "http://["
        return False


def _check(said: Mapping[str, Any], query: QueryDict) -> None:
    """Raises ``OAuthToolkitError`` for what DOT would store unseen: it takes it of either."""

    def values(name: str) -> list[str]:
        return [said.get(name) or "", *query.getlist(name)]

    state, field = said.get("state"), get_grant_model()._meta.get_field
    try:
        if any(value and not _CHALLENGE.fullmatch(value) for value in values("code_challenge")):
            # RFC 7636 section 4.2
            raise errors.InvalidRequestError("A code_challenge has 43 to 128 letters.", state=state)
        for name in ("code_challenge_method", "nonce"):
            if any(len(value) > field(name).max_length for value in values(name)):
                raise errors.InvalidRequestError(f"The {name} is too long.", state=state)
        targets.check(" ".join(values("resource")).split(), state=state)
    except errors.OAuth2Error as error:
        raise OAuthToolkitError(error=error, redirect_uri=said["redirect_uri"]) from None


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
