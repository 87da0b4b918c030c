import json
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings

from ...conf import app_settings
from ..device import GRANT_TYPE as DEVICE
from ..grants import TokenExchangeGrant


class OAuthServerMetadataView(views.OAuthServerMetadataView):
    """RFC 8414: what is really on, under the one issuer that there is.

    At the root of the host it answers for the issuer's path (section 3.1) and no other.
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
        if password and app_settings.FIRST_PARTY_CLIENTS:
            grants.append("password")
        data["grant_types_supported"] = grants
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
    """RFC 9728: this API. A path below it is no resource of its own."""

    def get(
        self, request: HttpRequest, *args: Any, resource_path: str = "", **kwargs: Any
    ) -> HttpResponse:
        if resource_path:
            raise Http404
        response: HttpResponse = super().get(request, *args, **kwargs)
        return response
