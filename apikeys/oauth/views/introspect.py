from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request

from ... import token
from ...access import Access
from ...conf import app_settings
from ...refusals import Refused
from ...verify import verify
from ..resolver import access_of
from .token import ENDPOINT, Readable, challenged, error_response


class IntrospectTokenView(Readable, views.IntrospectTokenView):
    """RFC 7662 for keys and access tokens, to whom DOT answers; by ``POST`` only (section 2.1).

    Whatever is dead is ``{"active": false}``, and never says why (section 2.2).
    """

    http_method_names = ["post", "options"]

    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return challenged(request, response)

    def authenticate_client(self, request: HttpRequest) -> bool:
        """Section 2.1: a public client is nobody, even where DOT stores an empty secret for it."""
        core = self.get_oauthlib_core()
        asking = Request(*core._extract_params(request))
        known = core.server.request_validator.authenticate_client(asking)
        return bool(known and asking.client.client_type == asking.client.CLIENT_CONFIDENTIAL)

    def unauthenticated_response(
        self, request: HttpRequest, oauthlib_request: Any = None
    ) -> HttpResponse:
        # Section 2.3: 401 for a client that is not authenticated, or whose token is no good.
        response = error_response("invalid_client", "The client is not authenticated.", 401)
        response["WWW-Authenticate"] = f'Bearer realm="{app_settings.REALM}"'
        return response

    @staticmethod
    @sensitive_variables("token_value")
    def get_token_response(token_value: str | None = None) -> HttpResponse:
        if not token_value:
            return error_response("invalid_request", "The parameter token is missing.")
        try:
            facts = _facts(token_value)
        except Refused:
            facts = None
        return JsonResponse(facts or {"active": False})


@sensitive_variables("text")
def _facts(text: str) -> dict[str, Any] | None:
    """What section 2.2 tells of a live credential. Raises ``Refused``, or is ``None``."""
    if token.looks_like_key(text, app_settings.PREFIX):
        access = verify(text, counts_as_use=False, anywhere=True)
        return _of(access) | {"client_id": access.credential_id}
    row = oauth2_settings.OAUTH2_VALIDATOR_CLASS()._load_access_token(text)
    if row is None or row.is_expired():
        return None
    facts = _of(access_of(row))
    return facts | {"aud": row.resource} if row.resource else facts


def _of(access: Access) -> dict[str, Any]:
    facts: dict[str, Any] = {"active": True, "scope": access.scope, "token_type": "Bearer"}
    if access.expires_at is not None:
        facts["exp"] = int(access.expires_at.timestamp())
    if access.client is not None:
        facts["client_id"] = facts["sub"] = access.client.client_id
    if access.user is not None:
        facts |= {"username": access.user.get_username(), "sub": str(access.user.pk)}
    if access.project is not None:
        facts |= {"project": access.project.slug, "sub": f"project:{access.project.slug}"}
    return facts
