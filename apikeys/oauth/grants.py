"""Add grant types that django-oauth-toolkit lacks to the token endpoint."""

import json
from functools import partial
from typing import Any, Final

from django.views.decorators.debug import sensitive_variables
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc6749.grant_types.base import GrantTypeBase

from .. import refusals, scopes, token
from ..conf import app_settings
from ..models.owners import is_active
from ..refusals import Refused
from . import assertions, issue, key_clients, login_tokens

ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"
ID_TOKEN: Final = "urn:ietf:params:oauth:token-type:id_token"


class JSONGrant(GrantTypeBase):
    """Base class of the grants in this module. Turns an ``OAuth2Error`` into its response."""

    def create_token_response(
        self, request: Any, token_handler: Any
    ) -> tuple[dict[str, str], str, int]:
        headers = self._get_default_headers()
        try:
            return headers, json.dumps(self.respond(request, token_handler)), 200
        except errors.OAuth2Error as error:
            return headers | error.headers, error.json, error.status_code

    def respond(self, request: Any, token_handler: Any) -> dict[str, Any]:
        """Return the token response, or raise ``OAuth2Error``."""
        raise NotImplementedError


class ClientCredentialsGrant(JSONGrant):
    """RFC 6749 section 4.4 for a key as a client. ``otherwise`` handles all other clients."""

    def __init__(self, request_validator: Any, otherwise: Any) -> None:
        super().__init__(request_validator)
        self.otherwise = otherwise

    @sensitive_variables()
    def create_token_response(
        self, request: Any, token_handler: Any
    ) -> tuple[dict[str, str], str, int]:
        try:
            credentials = key_clients.presented(request.headers, request._params)
        except errors.OAuth2Error as error:
            return self._get_default_headers(), error.json, error.status_code
        is_assertion = "client_assertion_type" in request._params
        if is_assertion or (credentials is not None and credentials.are_a_key):
            return super().create_token_response(request, token_handler)
        answer: tuple[dict[str, str], str, int]
        answer = self.otherwise.create_token_response(request, token_handler)
        return answer

    @sensitive_variables()
    def respond(self, request: Any, token_handler: Any) -> dict[str, Any]:
        credentials = key_clients.presented(request.headers, request._params)
        as_jwt = wants_jwt(request)
        if "client_assertion_type" in request._params:
            return assertions.answer_key(request, token_handler.token_generator, as_jwt=as_jwt)
        if credentials is None:
            raise errors.InvalidClientError
        subject = issue.Subject.of_key(key_clients.authenticate(credentials, request.headers))
        return issue.answer(request, token_handler.token_generator, subject, as_jwt=as_jwt)


class TokenExchangeGrant(JSONGrant):
    """RFC 8693: exchange a key or an access token for a token with the same or fewer scopes.

    A key needs no client authentication. An access token that belongs to a client can be
    exchanged by that client, or by any confidential client (a service that received it).
    """

    NAME: Final = "urn:ietf:params:oauth:grant-type:token-exchange"

    @sensitive_variables()
    def respond(self, request: Any, token_handler: Any) -> dict[str, Any]:
        params = request._params
        for name in ("subject_token", "subject_token_type"):
            if not params.get(name):
                raise errors.InvalidRequestError(f"The parameter {name} is missing.")
        kinds = (ACCESS_TOKEN, JWT, ID_TOKEN, login_tokens.REFRESH_TOKEN)
        if params["subject_token_type"] not in kinds:
            raise errors.InvalidRequestError("This type of subject token is not supported.")
        if params.get("actor_token") or params.get("actor_token_type"):
            raise errors.InvalidRequestError("Delegation by an actor token is not supported.")
        as_jwt = wants_jwt(request)
        if assertions.is_of_workload(params["subject_token"]):
            if params["subject_token_type"] == ACCESS_TOKEN:
                raise errors.InvalidRequestError("The subject token is a JWT or an ID token.")
            generator = token_handler.token_generator
            refuse = partial(_refuse, "subject token", errors.InvalidRequestError)
            issued = assertions.answer_workload(
                request, generator, params["subject_token"], refuse, as_jwt=as_jwt
            )
            return issued | {"issued_token_type": JWT if as_jwt else ACCESS_TOKEN}
        if params["subject_token_type"] == ID_TOKEN:
            raise errors.InvalidRequestError("ID tokens are accepted of workloads only.")
        client = self._client(request)
        if params["subject_token_type"] == login_tokens.REFRESH_TOKEN:
            text, validator = params["subject_token"], self.request_validator
            subject = login_tokens.subject(request, text, client, validator)
        else:
            subject = self._subject(request, params["subject_token"], client)
        application = None if isinstance(client, key_clients.VerifiedKey) else client
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
        """Return the application or key that authenticated as the client, or ``None``."""
        credentials = key_clients.presented(request.headers, request._params)
        validator, params = self.request_validator, request._params
        if credentials is not None and credentials.are_a_key:
            return key_clients.authenticate(credentials, request.headers)
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
        """Return the subject. Raise ``InvalidRequestError`` for an invalid one (section 2.2.2)."""
        if token.looks_like_key(text, app_settings.PREFIX):
            try:
                verified = key_clients.verify_key(text, request.headers)
            except Refused as refused:
                refusal = refused.refusal
                key_clients.check_decided(refused)
                raise errors.InvalidRequestError(
                    f"The subject token was refused: {refusal.code}."
                ) from None
            if isinstance(client, key_clients.VerifiedKey) and client.key != verified.key:
                raise errors.InvalidRequestError("A key cannot exchange another key.")
            return issue.Subject.of_key(verified)
        row = self.request_validator._load_access_token(text)
        if row is None or row.is_expired() or (row.user and not is_active(row.user)):
            raise errors.InvalidRequestError("The subject token is not valid.")
        if row.application is not None:
            if client is None:
                raise errors.InvalidClientError(
                    "This token can only be exchanged by an authenticated client."
                )
            own = client == row.application
            if not own and getattr(client, "client_type", "") != "confidential":
                raise errors.InvalidRequestError("The subject token belongs to another client.")
        if scopes.unknown(row.scope.split()):  # such as a registration access token
            raise errors.InvalidRequestError("The subject token cannot be exchanged.")
        return issue.Subject.of_token(row)


class JWTBearerGrant(JSONGrant):
    """RFC 7523 section 2.1: exchange a workload's identity token for an access token.

    The client is not authenticated. Its ID, if given, is the ID of the key.
    """

    NAME: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

    @sensitive_variables()
    def respond(self, request: Any, token_handler: Any) -> dict[str, Any]:
        if not (text := request._params.get("assertion")):
            raise errors.InvalidRequestError("The parameter assertion is missing.")
        as_jwt = wants_jwt(request)
        refuse = partial(_refuse, "assertion", errors.InvalidGrantError)
        if not assertions.is_of_workload(text):
            raise refuse(Refused(refusals.UNTRUSTED_ISSUER))
        generator = token_handler.token_generator
        return assertions.answer_workload(request, generator, text, refuse, as_jwt=as_jwt)


def _refuse(what: str, error: Any, refused: Refused) -> Exception:
    key_clients.check_decided(refused)
    refusal: Exception = error(f"The {what} was refused: {refused.refusal.code}.")
    return refusal


@sensitive_variables()
def _key_id(text: str) -> str | None:
    parsed = token.parse(text, app_settings.PREFIX)
    return parsed.public_id if parsed else None


def wants_jwt(request: Any) -> bool:
    """Return whether ``requested_token_type`` asks for a JWT (RFC 8693 section 3)."""
    wanted = request._params.get("requested_token_type") or ACCESS_TOKEN
    if wanted not in (ACCESS_TOKEN, JWT):
        raise errors.InvalidRequestError("This requested_token_type is not supported.")
    return bool(wanted == JWT)
