import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from oauth2_provider import views
from oauth2_provider.models import get_access_token_model, revoke_access_token
from oauthlib.oauth2.rfc6749 import errors

from ...databases import transactions
from ...models import AnyKey
from .. import key_clients
from .token import ENDPOINT, Readable, answer, error_response, finished


class RevokeTokenView(Readable, views.RevokeTokenView):
    """Revoke tokens (RFC 7009) for applications, and for keys as clients.

    A key as a client can revoke itself and the tokens that were issued for it.
    """

    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        return finished(request, response)

    @sensitive_variables()
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            credentials = key_clients.presented(request.META, request.POST)
            if credentials is None or not credentials.are_a_key:
                response: HttpResponse = super().post(request, *args, **kwargs)
                return response
            verified = key_clients.authenticate(credentials, request.META)
            text = request.POST.get("token")
            if not text:
                return error_response("invalid_request", "The parameter token is missing.")
            if not key_clients.revoke_key(text):
                _revoke_token(text, verified.key)
        except errors.OAuth2Error as error:
            return answer(error)
        return HttpResponse(status=200)


@sensitive_variables()
def _revoke_token(text: str, key: AnyKey) -> None:
    """Revoke the access token ``text`` if it was issued for ``key``; otherwise do nothing."""
    checksum = hashlib.sha256(text.encode()).hexdigest()
    rows = get_access_token_model()._default_manager.select_related("apikeys_origin")
    row = rows.filter(token_checksum=checksum, application=None).first()
    origin = getattr(row, "apikeys_origin", None)
    if origin is not None and key in (origin.personal_access_token, origin.project_key):
        with transactions.atomic(type(row)):
            revoke_access_token(row)
