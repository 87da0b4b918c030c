"""Grant types of the token endpoint that django-oauth-toolkit does not have."""

import json
from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from oauthlib.oauth2.rfc6749 import errors
from oauthlib.oauth2.rfc6749.grant_types.base import GrantTypeBase

from . import clients, issue, targets


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

    @sensitive_variables("credentials", "text")
    def respond(self, request: Any, token_handler: Any) -> dict[str, Any]:
        credentials = clients.presented(request.headers, request._params)
        if credentials is None:
            raise errors.InvalidClientError
        subject = issue.Subject.of_key(clients.authenticate(credentials, request.headers))
        scope = issue.narrowed_scope(request.scopes, subject)
        resource = targets.requested(request, subject.resource)
        expires = issue.ends_at(subject)
        text = token_handler.token_generator(request)
        issue.save(text, subject, scope=scope, expires=expires, resource=resource)
        return {
            "access_token": text,
            "token_type": "Bearer",
            "expires_in": seconds_until(expires),
            "scope": scope,
        }


def seconds_until(moment: Any) -> int:
    return max(0, int((moment - timezone.now()).total_seconds() + 0.5))
