"""Grant types of the token endpoint that django-oauth-toolkit does not have."""

import json
from typing import Any, Final

from django.views.decorators.debug import sensitive_variables
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc6749.grant_types.base import GrantTypeBase

from .. import refusals, scopes, token
from ..conf import app_settings
from ..refusals import Refused
from . import clients, issue

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"


class JSONGrant(GrantTypeBase):
    """A grant that answers with a token or raises an ``OAuth2Error``."""

    def create_token_response(
        self, request: Any, token_handler: Any
    ) -> tuple[dict[str, str], str, int]:
        headers = self._get_default_headers()
        try:
            return headers, json.dumps(self.respond(request, token_handler)), 200
        except errors.OAuth2Error as error:
            return headers | error.headers, error.json, error.status_code

    def respond(self, request: Any, token_handler: Any) -> dict[str, Any]:
        raise NotImplementedError


class ClientCredentialsGrant(JSONGrant):
    """RFC 6749 section 4.4, for a key as a client; ``otherwise`` for every other client."""

    def __init__(self, request_validator: Any, otherwise: Any) -> None:
        super().__init__(request_validator)
        self.otherwise = otherwise

    @sensitive_variables("credentials")
    def create_token_response(
        self, request: Any, token_handler: Any
    ) -> tuple[dict[str, str], str, int]:
        try:
            credentials = clients.presented(request.headers, request._params)
        except errors.OAuth2Error as error:
            return self._get_default_headers(), error.json, error.status_code
        if credentials is not None and credentials.are_a_key:
            return super().create_token_response(request, token_handler)
        answer: tuple[dict[str, str], str, int]
        answer = self.otherwise.create_token_response(request, token_handler)
        return answer

    @sensitive_variables("credentials")
    def respond(self, request: Any, token_handler: Any) -> dict[str, Any]:
        credentials = clients.presented(request.headers, request._params)
        if credentials is None:
            raise errors.InvalidClientError
        as_jwt = wants_jwt(request)
        subject = issue.Subject.of_key(clients.authenticate(credentials, request.headers))
        return issue.answer(request, token_handler.token_generator, subject, as_jwt=as_jwt)


class TokenExchangeGrant(JSONGrant):
    """RFC 8693, for keys and access tokens; it never widens.

    A key is proof enough of itself. An access token that a client holds is exchanged by
    that client, or by a confidential one (a service that was called with it).
    """

    NAME: Final = "urn:ietf:params:oauth:grant-type:token-exchange"

    @sensitive_variables()
    def respond(self, request: Any, token_handler: Any) -> dict[str, Any]:
        params = request._params
        for name in ("subject_token", "subject_token_type"):
            if not params.get(name):
                raise errors.InvalidRequestError(f"The parameter {name} is missing.")
        if params["subject_token_type"] not in (ACCESS_TOKEN, JWT):
            raise errors.InvalidRequestError("This type of subject token is not supported.")
        if params.get("actor_token") or params.get("actor_token_type"):
            raise errors.InvalidRequestError("Delegation by an actor token is not supported.")
        as_jwt = wants_jwt(request)
        client = self._client(request)
        subject = self._subject(request, params["subject_token"], client)
        application = None if isinstance(client, clients.VerifiedKey) else client
        issued = issue.answer(
            request,
            token_handler.token_generator,
            subject,
            application=application,
            as_jwt=as_jwt,
        )
        return issued | {"issued_token_type": JWT if as_jwt else ACCESS_TOKEN}

    @sensitive_variables()
    def _client(self, request: Any) -> Any:
        """The application or key that asks, or ``None``."""
        credentials = clients.presented(request.headers, request._params)
        validator, params = self.request_validator, request._params
        if credentials is not None and credentials.are_a_key:
            return clients.authenticate(credentials, request.headers)
        if credentials is not None or request.headers.get("HTTP_AUTHORIZATION"):
            known = validator.authenticate_client(request)
        elif request.client_id and request.client_id != _key_id(params.get("subject_token")):
            known = validator.authenticate_client_id(request.client_id, request)
        else:
            return None
        if not known:
            raise errors.InvalidClientError
        return request.client

    @sensitive_variables()
    def _subject(self, request: Any, text: str, client: Any) -> issue.Subject:
        """Raises ``InvalidRequestError`` for a subject token that is no good (section 2.2.2)."""
        if token.looks_like_key(text, app_settings.PREFIX):
            try:
                verified = clients.verify_key(text, request.headers)
            except Refused as refused:
                refusal = refused.refusal
                if refusal in (refusals.VERIFICATION_BUSY, refusals.TEMPORARILY_UNAVAILABLE):
                    raise errors.TemporarilyUnavailableError(status_code=503) from None
                raise errors.InvalidRequestError(
                    f"The subject token is refused: {refusal.code}."
                ) from None
            if isinstance(client, clients.VerifiedKey) and client.key != verified.key:
                raise errors.InvalidRequestError("A key is not exchanged by another key.")
            return issue.Subject.of_key(verified)
        row = self.request_validator._load_access_token(text)
        if row is None or row.is_expired() or (row.user and not row.user.is_active):
            raise errors.InvalidRequestError("The subject token is not valid.")
        if row.application is not None:
            if client is None:
                raise errors.InvalidClientError("A client has to exchange this token.")
            own = client == row.application
            if not own and getattr(client, "client_type", "") != "confidential":
                raise errors.InvalidRequestError("The subject token is of another client.")
        if scopes.unknown(row.scope.split()):  # such as a registration access token
            raise errors.InvalidRequestError("The subject token is not for exchange.")
        return issue.Subject.of_token(row)


@sensitive_variables()
def _key_id(text: str) -> str | None:
    parsed = token.parse(text, app_settings.PREFIX)
    return parsed.public_id if parsed else None


def wants_jwt(request: Any) -> bool:
    """What ``requested_token_type`` says (RFC 8693 section 3)."""
    wanted = request._params.get("requested_token_type") or ACCESS_TOKEN
    if wanted not in (ACCESS_TOKEN, JWT):
        raise errors.InvalidRequestError("This type of token is not issued.")
    return bool(wanted == JWT)
