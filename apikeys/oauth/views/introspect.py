from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from oauth2_provider import views
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import Request
from oauthlib.oauth2 import OAuth2Error

from ... import claims, restrictions, token
from ...access import Access
from ...conf import app_settings, slug_of
from ...databases import unavailable
from ...refusals import Refused
from ...verify import verify
from .. import registration
from ..resolver import access_of
from .token import ENDPOINT, Readable, answer, error_response, finished


class IntrospectTokenView(Readable, views.IntrospectTokenView):
    """Introspect keys and access tokens (RFC 7662), by ``POST`` only (section 2.1).

    Answers the confidential clients of the site and of its users. An invalid, expired or revoked
    credential gives ``{"active": false}`` without a reason (section 2.2).
    """

    http_method_names = ["post", "options"]

    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response: HttpResponse = super().dispatch(request, *args, **kwargs)
        except OAuth2Error as error:  # such as a client that uses two authentication methods
            response = answer(error)
        response["Cache-Control"] = "no-store"
        return finished(request, response)

    def authenticate_client(self, request: HttpRequest) -> bool:
        """Return whether a confidential client is authenticated (section 2.1).

        A public client does not count, even if DOT stores an empty secret for it. Neither does
        a client that anyone could register: the answer would be public.
        """
        core = self.get_oauthlib_core()
        asking = Request(*core._extract_params(request))
        known = core.server.request_validator.authenticate_client(asking)
        return bool(
            known
            and asking.client.client_type == asking.client.CLIENT_CONFIDENTIAL
            and not registration.is_strangers(asking.client)
        )

    def unauthenticated_response(
        self, request: HttpRequest, oauthlib_request: Any = None
    ) -> HttpResponse:
        # Section 2.3: 401 for a client without valid credentials.
        response = error_response("invalid_client", "The client is not authenticated.", 401)
        response["WWW-Authenticate"] = f'Bearer realm="{app_settings.REALM}"'
        return response

    @staticmethod
    @sensitive_variables()
    def get_token_response(token_value: str | None = None) -> HttpResponse:
        if not token_value:
            return error_response("invalid_request", "The parameter token is missing.")
        try:
            facts = _facts(token_value)
        except Refused as refused:
            if unavailable.reason(refused) is not None:
                raise  # the credential could not be checked, so it may be active
            facts = None
        return JsonResponse(facts or {"active": False})


@sensitive_variables()
def _facts(text: str) -> dict[str, Any] | None:
    """Return the response for an active credential (section 2.2).

    Return ``None`` or raise ``Refused`` for any other.
    """
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
    for restriction, value in restrictions.nonempty(restrictions.of(access)):
        facts |= restriction.claims(value)
    if access.stored_metadata is not None:
        facts["metadata"] = access.metadata
    if access.client is not None:
        facts["client_id"] = facts["sub"] = access.client.client_id
    if access.user is not None:
        facts |= {"username": access.user.get_username(), "sub": str(access.user.pk)}
    if access.project is not None:
        facts |= {"project": slug_of(access.project), "sub": f"project:{slug_of(access.project)}"}
    return claims.added(access.user if access.project is None else access.project, facts)
