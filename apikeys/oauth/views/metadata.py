import json
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import Resolver404, get_script_prefix, resolve
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings

from ...http import discovery
from ...scopes import default
from .. import assertions, targets
from ..conf import oauth_settings
from ..device import GRANT_TYPE as DEVICE
from ..grants import JWTBearerGrant, TokenExchangeGrant
from ..scopes import OPENID, is_openid_declared


def _scopes_supported() -> list[str]:
    """Return the scopes to offer every client.

    Some clients request every scope in this list, so it leaves out the scopes that manage
    keys. RFC 8414 section 2 allows that. A client can still request them by name.
    """
    offered = default()
    if not is_openid_declared():
        offered = [name for name in offered if name != OPENID]
    return sorted(offered)


class OAuthServerMetadataView(views.OAuthServerMetadataView):
    """Publish the enabled endpoints and grants under the server's issuer (RFC 8414).

    At the root of the host, answers only for the path of the issuer (section 3.1).
    """

    def get(
        self, request: HttpRequest, *args: Any, issuer_path: str = "", **kwargs: Any
    ) -> HttpResponse:
        _check_issuer(request, issuer_path)
        document: HttpResponse = super().get(request, *args, **kwargs)
        data = json.loads(document.content)
        data["issuer"] = oauth2_settings.oauth2_authorization_server_issuer(request)
        grants = ["authorization_code", "refresh_token", "client_credentials"]
        grants += [DEVICE, TokenExchangeGrant.NAME]
        if assertions.is_available():
            grants.append(JWTBearerGrant.NAME)
        password = not oauth2_settings.COMPLIANT_BCP_RFC9700_PASSWORD_GRANT
        if password and oauth_settings.FIRST_PARTY_CLIENTS:
            grants.append("password")
        data["grant_types_supported"] = grants
        data["scopes_supported"] = _scopes_supported()
        if "code_challenge_methods_supported" in data:
            data["code_challenge_methods_supported"] = ["S256"]
        if url := self._get_endpoint_url(request, "device-authorization"):
            data["device_authorization_endpoint"] = url
        methods = data.get("token_endpoint_auth_methods_supported", [])
        data["token_endpoint_auth_methods_supported"] = [*methods, "none"]
        if assertions.is_available():
            data["token_endpoint_auth_methods_supported"] += ["private_key_jwt"]
            algorithms = list(assertions.ALGORITHMS)
            data["token_endpoint_auth_signing_alg_values_supported"] = algorithms
        if "revocation_endpoint" in data:
            data["revocation_endpoint_auth_methods_supported"] = [*methods, "none"]
        return _public(data)


class OpenIDConfigurationView(views.ConnectDiscoveryInfoView):
    """Publish what the server metadata has, and what OpenID Connect Discovery adds to it.

    Answers 404 unless the site declares the scope ``openid``.
    """

    def get(
        self, request: HttpRequest, *args: Any, issuer_path: str = "", **kwargs: Any
    ) -> HttpResponse:
        if not is_openid_declared():
            raise Http404
        _check_issuer(request, issuer_path)
        own = super().get(request, *args, **kwargs)
        server = OAuthServerMetadataView()
        server.setup(request)
        return _public(json.loads(own.content) | json.loads(server.get(request).content))


def _check_issuer(request: HttpRequest, issuer_path: str) -> None:
    issuer = oauth2_settings.oauth2_authorization_server_issuer(request)
    if issuer_path and issuer_path.strip("/") != urlsplit(issuer).path.strip("/"):
        raise Http404


def _public(data: dict[str, Any]) -> HttpResponse:
    return JsonResponse(data, headers={"Access-Control-Allow-Origin": "*"})


class OAuthProtectedResourceMetadataView(views.OAuthProtectedResourceMetadataView):
    """Describe this API as a resource (RFC 9728).

    The path after ``/.well-known/oauth-protected-resource`` may be any path of the site: a token
    for that resource is valid there and below. With ``OAUTH2_PROTECTED_RESOURCE_IDENTIFIER``,
    only the path of that resource is described.
    """

    def get_scopes_supported(self) -> list[str]:
        return _scopes_supported()

    def get_resource(self, request: HttpRequest) -> str:
        if oauth2_settings.OAUTH2_PROTECTED_RESOURCE_IDENTIFIER or not self.path:
            return str(super().get_resource(request))
        return request.build_absolute_uri(get_script_prefix() + self.path)

    def get(
        self, request: HttpRequest, *args: Any, resource_path: str = "", **kwargs: Any
    ) -> HttpResponse:
        self.path = resource_path
        if resource_path and not self._is_described(request):
            raise Http404
        response: HttpResponse = super().get(request, *args, **kwargs)
        return response

    def _is_described(self, request: HttpRequest) -> bool:
        """Return whether the path belongs to a resource that tokens can be restricted to."""
        if self.path.startswith("/"):
            return False  # with the slash before it, the URL would name another host
        resource = self.get_resource(request)
        if oauth2_settings.OAUTH2_PROTECTED_RESOURCE_IDENTIFIER:
            return urlsplit(resource).path.strip("/") == self.path.strip("/")
        audiences = oauth_settings.AUDIENCES
        if audiences is not None and not targets.covers(audiences, resource):
            return False
        return _is_path(request, f"/{self.path}") or _is_path(request, f"/{self.path}/")


def _is_path(request: HttpRequest, path: str) -> bool:
    try:
        resolve(path, getattr(request, "urlconf", None))
    except Resolver404:
        return False
    return True


def resource_url(request: Any, resource: str | None) -> str | None:
    """Return the URL of the description of ``resource``, or of this API (RFC 9728 section 3.1).

    Return ``None`` if ``apikeys.oauth.well_known`` is not mounted.
    """
    if resource is None:
        if not _is_mounted(settings.ROOT_URLCONF):
            return None
        resource = oauth2_settings.OAUTH2_PROTECTED_RESOURCE_IDENTIFIER
    if not resource:
        return str(request.build_absolute_uri(get_script_prefix().rstrip("/") + discovery.PATH))
    parts = urlsplit(resource)
    path = discovery.PATH + ("" if parts.path == "/" else parts.path)
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


@lru_cache
def _is_mounted(urlconf: str) -> bool:
    try:
        resolve(discovery.PATH, urlconf)
    except Resolver404:
        return False
    return True


def describe(request: Any, resource: str | None) -> dict[str, Any] | None:
    """Return the description of ``resource`` at another origin than Django's views.

    Return ``None`` if no setting names the authorization server: the request does not say.
    """
    named = oauth2_settings.OAUTH2_PROTECTED_RESOURCE_AUTHORIZATION_SERVERS
    if not named and not oauth2_settings.OIDC_ISS_ENDPOINT:
        return None
    return {
        "resource": resource,
        "authorization_servers": list(named) or [oauth2_settings.OIDC_ISS_ENDPOINT],
        "scopes_supported": _scopes_supported(),
        "bearer_methods_supported": ["header"],
    }
