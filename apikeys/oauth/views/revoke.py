import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_variables
from oauth2_provider import views
from oauth2_provider.models import get_access_token_model, revoke_access_token
from oauthlib.oauth2.rfc6749 import errors

from .. import clients
from .token import ENDPOINT, Readable, challenged, error_response


class RevokeTokenView(Readable, views.RevokeTokenView):
    """RFC 7009, with a key as a client beside the applications.

    As its own client, a key revokes itself and the tokens that it was exchanged for.
    """

    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        return challenged(request, response)

    @sensitive_variables()
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            credentials = clients.presented(request.META, request.POST)
            if credentials is None or not credentials.are_a_key:
                response: HttpResponse = super().post(request, *args, **kwargs)
                return response
            verified = clients.authenticate(credentials, request.META)
        except errors.OAuth2Error as error:
            response = error_response(error.error, error.description, error.status_code)
            if error.status_code == 401:
                response["WWW-Authenticate"] = error.headers["WWW-Authenticate"]
            return response
        text = request.POST.get("token")
        if not text:
            return error_response("invalid_request", "The parameter token is missing.")
        if not clients.revoke_key(text):
            _revoke_token(text, verified.key)
        return HttpResponse(status=200)


@sensitive_variables("text")
def _revoke_token(text: str, key: clients.AnyKey) -> None:
    """End the access token that ``key`` was exchanged for; another's is as if unknown."""
    checksum = hashlib.sha256(text.encode()).hexdigest()
    rows = get_access_token_model()._default_manager.select_related("apikeys_origin")
    row = rows.filter(token_checksum=checksum, application=None).first()
    origin = getattr(row, "apikeys_origin", None)
    if origin is not None and key in (origin.personal_access_token, origin.project_key):
        revoke_access_token(row)
