import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast
from urllib.parse import parse_qs, urlsplit

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect
from oauth2_provider import views
from oauth2_provider.exceptions import FatalClientError, OAuthToolkitError
from oauth2_provider.forms import AllowForm
from oauth2_provider.http import OAuth2ResponseRedirect
from oauth2_provider.models import get_application_model, get_grant_model
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.openid.connect.core.exceptions import ConsentRequired
from oauthlib.uri_validate import is_absolute_uri

from ... import scopes
from ...databases import transactions
from ...http import outages
from ...http.hidden import hidden
from ...web.headers import guard
from .. import consent, consent_page, error_page, recent_login, targets
from ..models import Consent
from ..targets import LOOPBACK
from .token import Readable, addressed

_CHALLENGE = re.compile(r"[A-Za-z0-9._~-]{43,128}")


_STALE: Final = _(
    "This form does not match the application's request. Start again from the application."
)
_NOTHING_TO_READ: Final = _("None of these permissions is read only.")


class _ConsentNeededError(Exception):
    """No consent covers the request, so the user must see the consent page."""


class AllowedForm(consent_page.ReachFields, AllowForm):
    def is_allowed(self) -> bool:
        return bool(self.cleaned_data.get("allow"))


class AuthorizationView(Readable, views.AuthorizationView):
    """The consent page: shows the client and its scopes, and lets the user select projects."""

    template_name = "apikeys_oauth/authorize.html"
    form_class = AllowedForm
    #: Whether the user allows less than the page offered.
    is_narrowed = False
    http_method_names = ["get", "post", "head", "options"]

    # The view redirects to the login itself, except for a request with `prompt=none`.
    @method_decorator(
        (login_not_required, hidden, outages.answered(outages.page), csrf_protect, addressed)
    )
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guarded(super().dispatch(request, *args, **kwargs))

    def unreadable(self, description: str) -> HttpResponse:
        error = FatalClientError(error=errors.InvalidRequestFatalError(description))
        return cast("HttpResponse", self.error_response(error, application=None))

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Decide here whether to show the page: DOT counts any token of a client as consent."""
        parameters: Any = request.GET.copy()
        default = oauth2_settings.REQUEST_APPROVAL_PROMPT
        prompts = set(parameters.get("prompt", "").split())
        self.asks_for_nothing = "none" in prompts
        self.may_skip_page = self.asks_for_nothing or (
            parameters.get("approval_prompt", default) == "auto"
            and prompts.isdisjoint(("consent", "select_account"))
        )
        parameters["approval_prompt"] = "force"
        request.GET = parameters
        try:
            return cast("HttpResponse", super().get(request, *args, **kwargs))
        except _ConsentNeededError:  # raised for a client with skip_authorization
            self.may_skip_page = False
            context = self.get_context_data(**self.oauth2_data)
            return self.render_to_response(context)

    def render_to_response(self, context: dict[str, Any], **kwargs: Any) -> HttpResponse:
        if "error" in context:
            context |= error_page.facts(context["error"])
        if self.request.method != "POST" and "form" in context:
            response = self.instead_of_page(context["application"], context["scopes"])
            if response is not None:
                return response
        return cast("HttpResponse", super().render_to_response(context, **kwargs))

    def instead_of_page(self, application: Any, scopes: Iterable[str]) -> HttpResponse | None:
        """Return a redirect instead of the consent page, or ``None`` to show the page."""
        # Another program could use the ID of a public client (RFC 8252 section 8.6).
        if self.may_skip_page and application.client_type == application.CLIENT_CONFIDENTIAL:
            try:
                uri, *_rest = self.create_authorization_response(
                    self.request, " ".join(scopes), self.credentials, allow=True
                )
                return self.redirect(uri, application)
            except OAuthToolkitError as error:
                return cast("HttpResponse", self.error_response(error, application))
            except _ConsentNeededError:
                pass
        if self.asks_for_nothing:  # OpenID Connect Core section 3.1.2.6
            required = ConsentRequired(state=self.credentials.get("state"))
            redirect_uri = self.credentials["redirect_uri"]
            refused = OAuthToolkitError(error=required, redirect_uri=redirect_uri)
            return cast("HttpResponse", self.error_response(refused, application))
        if recent_login.is_missing(self.request, application):
            return recent_login.ask(self.request, self.own_url)
        return None

    @property
    def own_url(self) -> str:
        """The URL of this page with its query, even if the form was sent without the query."""
        if "client_id" in self.request.GET:
            return self.request.get_full_path()
        said = self.request.POST
        names = [name for name in AllowForm.base_fields if said.get(name) and name != "allow"]
        fields: dict[str, Any] = {name: said[name] for name in names}
        if "resource" in fields:
            fields["resource"] = fields["resource"].split()
        return f"{self.request.path}?{urlencode(fields, doseq=True)}"

    def get_initial(self) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_initial()
        initial |= consent_page.initial(self.request.user, self.oauth2_data.get("application"))
        return initial | recent_login.draft(self.request, self.own_url)

    def validate_authorization_request(self, request: HttpRequest) -> Any:
        scopes, credentials = super().validate_authorization_request(request)
        _check(credentials, request.GET)
        self.credentials = credentials
        return scopes, credentials

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        return kwargs | {"user": self.request.user}

    def form_valid(self, form: AllowedForm) -> HttpResponse:
        """Check the hidden fields again, because the browser can change them."""
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
        if form.is_allowed():
            if _asks_for_more(said, self.request.GET):
                form.add_error(None, _STALE)
            elif not self.narrow(form, application):
                form.add_error("access", _NOTHING_TO_READ)
            if form.errors:
                return self.form_invalid(form)
            if recent_login.is_missing(self.request, application):
                return recent_login.ask(self.request, self.own_url)
        return cast("HttpResponse", super().form_valid(form))

    def narrow(self, form: AllowedForm, application: Any) -> bool:
        """Keep the scopes that the user chose. Return ``False`` if that is none of them."""
        offered = consent.allowed(
            form.cleaned_data["scope"].split(), self.request.user, application.client_id
        )
        chosen = form.granted(offered)
        self.is_narrowed = set(chosen) != set(offered)
        if self.is_narrowed:
            form.cleaned_data["scope"] = " ".join(chosen)
        return bool(chosen) or not offered

    def form_invalid(self, form: AllowedForm) -> HttpResponse:
        client_id = form.data.get("client_id", "")
        application = get_application_model()._default_manager.filter(client_id=client_id).first()
        if application is None:
            error = FatalClientError(error=errors.InvalidClientIdError())
            return cast("HttpResponse", self.error_response(error, application))
        uri = form.data.get("redirect_uri", "")
        context = self.get_context_data(
            form=form,
            application=application,
            scopes=form.data.get("scope", "").split(),
            redirect_uri=uri if _is_redirect_uri(application, uri) else "",
        )
        return self.render_to_response(context, status=422)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        application, names = kwargs.get("application"), kwargs.get("scopes") or ()
        uri = kwargs.get("redirect_uri") or ""
        return context | consent_page.facts(self.request.user, application, names, uri)

    def create_authorization_response(
        self, request: HttpRequest, scopes: str, credentials: dict[str, Any], allow: bool
    ) -> Any:
        names = consent.allowed((scopes or "").split(), request.user, credentials["client_id"])
        if allow and not names:
            raise OAuthToolkitError(
                error=errors.InvalidScopeError(
                    "The user cannot grant any of these scopes.", state=credentials.get("state")
                ),
                redirect_uri=credentials["redirect_uri"],
            )
        with transactions.atomic(Consent):
            credentials["apikeys_is_given"] = request.method == "POST"
            credentials["apikeys_is_narrowed"] = self.is_narrowed
            if request.method == "POST":
                credentials["apikeys_projects"] = self.projects
            else:
                credentials["apikeys_projects"] = self.projects_without_asking(credentials, names)
            return super().create_authorization_response(
                request, " ".join(names), credentials, allow
            )

    def projects_without_asking(
        self, credentials: Mapping[str, Any], names: Iterable[str]
    ) -> list[Any] | None:
        """Return the projects that the client gets without the consent page; ``None`` for all.

        Raise ``_ConsentNeededError`` unless a consent covers the request. A client with
        ``skip_authorization`` needs a consent only if the user ever limited its projects.
        """
        user = self.request.user
        applications = get_application_model()._default_manager
        application = applications.get(client_id=credentials["client_id"])
        covering = consent.covering(user, application, names)
        if covering is not None:
            return consent.projects_of(covering)
        if application.skip_authorization and not consent.is_restricted(user, application):
            return None
        raise _ConsentNeededError

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """Redirect to the client. Allow plain http on the loopback (RFC 8252 section 8.3)."""
        target = urlsplit(redirect_to)
        if "error" in (params := parse_qs(target.query)) and "iss" not in params:
            # RFC 9207 section 2: error responses also contain the issuer.
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
        """Return the client of an error redirect, for which DOT passes none, or ``None``."""
        client_id = self.request.GET.get("client_id", "")
        found = get_application_model()._default_manager.filter(client_id=client_id).first()
        base = redirect_to.partition("?")[0]
        return found if found is not None and found.redirect_uri_allowed(base) else None


def _is_redirect_uri(application: Any, uri: str) -> bool:
    try:
        return bool(is_absolute_uri(uri) and application.redirect_uri_allowed(uri))
    except ValueError:  # such as "http://["
        return False


def _asks_for_more(said: Mapping[str, Any], query: QueryDict) -> bool:
    """Return whether the form differs from the request in the URL, which the page showed."""
    if "client_id" not in query:  # the form was sent without the query
        return False
    for name in ("client_id", "redirect_uri", "response_type", "code_challenge"):
        if query.get(name) and query[name] != said.get(name):
            return True
    asked = query.get("scope", "").split()
    return bool(asked) and not scopes.expand(" ".join(asked)).issuperset(said["scope"].split())


def _check(said: Mapping[str, Any], query: QueryDict) -> None:
    """Raise ``OAuthToolkitError`` for invalid values in the form or the query.

    DOT stores these values unchecked, from either place.
    """

    def values(name: str) -> list[str]:
        return [said.get(name) or "", *query.getlist(name)]

    state, field = said.get("state"), get_grant_model()._meta.get_field
    try:
        if any(value and not _CHALLENGE.fullmatch(value) for value in values("code_challenge")):
            # RFC 7636 section 4.2
            raise errors.InvalidRequestError(
                "The code_challenge must have 43 to 128 characters.", state=state
            )
        methods = set(filter(None, values("code_challenge_method")))
        if any(values("code_challenge")) and methods != {"S256"}:
            # RFC 9700 section 2.1.1. RFC 7636 reads a missing method as "plain".
            raise errors.InvalidRequestError("The code_challenge_method must be S256.", state=state)
        for name in ("code_challenge_method", "nonce"):
            if any(len(value) > field(name).max_length for value in values(name)):
                raise errors.InvalidRequestError(f"The {name} is too long.", state=state)
        targets.check(" ".join(values("resource")).split(), state=state)
    except errors.OAuth2Error as error:
        raise OAuthToolkitError(error=error, redirect_uri=said["redirect_uri"]) from None


def guarded(response: HttpResponse) -> HttpResponse:
    """Add headers that forbid caching and framing of the page (RFC 9700 section 4.16).

    The policy has no ``form-action``: browsers would apply it to the client's redirect URI.
    """
    return guard(response, restricts_forms=False)
