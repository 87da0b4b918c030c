import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings

from ...scopes import default
from ..conf import oauth_settings
from ..device import GRANT_TYPE as DEVICE
from ..grants import TokenExchangeGrant
from ..scopes import OPENID


def _scopes_supported() -> list[str]:
    """Return the scopes to offer every client.

    Some clients request every scope in this list, so it leaves out the scopes that manage
    keys. RFC 8414 section 2 allows that. A client can still request them by name.
    """
    offered = default()
    if not oauth2_settings.OIDC_ENABLED:
        offered = [name for name in offered if name != OPENID]
    return sorted(offered)


class OAuthServerMetadataView(views.OAuthServerMetadataView):
    """Publish the enabled endpoints and grants under the server's issuer (RFC 8414).

    At the root of the host, answers only for the path of the issuer (section 3.1).
    """

    def get(
        self, request: HttpRequest, *args: Any, issuer_path: str = "", **kwargs: Any
    ) -> HttpResponse:
        issuer = oauth2_settings.oauth2_authorization_server_issuer(request)
        asked = oauth2_settings.oauth2_metadata_issuer(request)
        if issuer_path and asked != issuer:
            raise Http404
        document: HttpResponse = super().get(request, *args, **kwargs)
        data = json.loads(document.content)
        data["issuer"] = issuer
        grants = ["authorization_code", "refresh_token", "client_credentials"]
        grants += [DEVICE, TokenExchangeGrant.NAME]
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
        if "revocation_endpoint" in data:
            data["revocation_endpoint_auth_methods_supported"] = [*methods, "none"]
        response = JsonResponse(data)
        response["Access-Control-Allow-Origin"] = "*"
        return response


class OAuthProtectedResourceMetadataView(views.OAuthProtectedResourceMetadataView):
    """Describe this API as a resource (RFC 9728). Paths below it are not separate resources."""

    def get_scopes_supported(self) -> list[str]:
        return _scopes_supported()

    def get(
        self, request: HttpRequest, *args: Any, resource_path: str = "", **kwargs: Any
    ) -> HttpResponse:
        if resource_path:
            raise Http404
        response: HttpResponse = super().get(request, *args, **kwargs)
        return response
