"""Validate requests to the OAuth endpoints (``OAUTH2_VALIDATOR_CLASS``)."""

from functools import lru_cache
from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import get_access_token_model, get_application_model
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749 import errors

from .. import scopes as scopes_of_site
from ..databases import transactions
from ..limits import attempts
from ..models.owners import is_active
from . import (
    bearer,
    chains,
    client_secrets,
    consent,
    device,
    documents,
    key_clients,
    lifetimes,
    own_clients,
    password_attempts,
    registration,
    scopes,
    targets,
)
from .conf import oauth_settings
from .http import AddressedRequest, issuer, noted
from .models import TokenOrigin
from .signals import token_issued

__all__ = ["Validator"]


def _acts_for_owner(request: Any) -> bool:
    """Return whether a client of a user requests a token for its owner, without a browser."""
    client = request.client
    return bool(request.grant_type == own_clients.GRANT and client and client.user_id is not None)


def _may_be_client_id(text: str) -> bool:
    """Return whether a client can have this ID: not too long, and without a NUL.

    PostgreSQL stores no NUL. django-oauth-toolkit parses an ID that is a URL, in a time that
    grows with the square of its length.
    """
    longest = get_application_model()._meta.get_field("client_id").max_length
    return "\0" not in text and (longest is None or len(text) <= longest)


class Validator(OAuth2Validator):
    """Set ``OAUTH2_PROVIDER["OAUTH2_VALIDATOR_CLASS"]`` to this class's path.

    - Allows the password grant (RFC 6749 section 4.3) only to ``FIRST_PARTY_CLIENTS``, the
      site's own pages; RFC 9700 section 2.4 forbids it to all others.
    - Allows the client credentials grant (section 4.4) to keys, to the site's clients, and to
      clients of users if ``Policy.client_grant_types`` does. A token of the last kind acts for
      the owner, within the owner's consent and rights.
    - Limits each access token to its key, parent token and consent.
    """

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        if grant_type == "password" and client_id not in oauth_settings.FIRST_PARTY_CLIENTS:
            return False
        if grant_type == own_clients.GRANT and not self._may_act_alone(client):
            return False
        return bool(
            super().validate_grant_type(client_id, grant_type, client, request, *args, **kwargs)
            or (grant_type != "password" and registration.has_grant(client, grant_type))
        )

    def _may_act_alone(self, client: Any) -> bool:
        """Return whether a client may use the client credentials grant."""
        if client.user_id is None:
            return registration.is_operators(client)
        return own_clients.is_one(client) and own_clients.GRANT in registration.grant_types(
            client.user
        )

    def get_default_scopes(
        self, client_id: str, request: Any, *args: Any, **kwargs: Any
    ) -> list[str]:
        if _acts_for_owner(request):
            return scopes.limited(own_clients.default(request.client), request.client)
        names: list[str] = super().get_default_scopes(client_id, request, *args, **kwargs)
        return names

    def validate_scopes(
        self,
        client_id: str,
        scopes: list[str],
        client: Any,
        request: Any,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        if not super().validate_scopes(client_id, scopes, client, request, *args, **kwargs):
            return False
        if not _acts_for_owner(request):
            return True
        names = set(scopes)
        return bool(names) and names == set(own_clients.within(client, scopes))

    def _load_application(self, client_id: str, request: Any) -> Any:
        """Return the client; ``None`` if its user is deactivated or its name is unreadable."""
        if client_id and not _may_be_client_id(client_id):
            return None
        if documents.is_document(client_id) and not documents.is_client(client_id, request):
            return None
        client = super()._load_application(client_id, request)
        if client is not None and not (
            registration.has_active_owner(client) and registration.has_readable_name(client)
        ):
            client = request.client = None
        return client

    @sensitive_variables()
    def _authenticate_basic_auth(self, request: Any) -> bool:
        try:
            return bool(super()._authenticate_basic_auth(request))
        except ValueError:  # not base64 or not ASCII
            return False

    @sensitive_variables()
    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        """Return whether the client is authenticated. Raise ``TooManyTries``."""
        attempt = client_secrets.Attempt(request)
        token = client_secrets.current.set(attempt)
        try:
            is_known = self._authenticate_client(request, *args, **kwargs)
        finally:
            client_secrets.current.reset(token)
        if is_known:
            attempt.give_back()
        return is_known

    @sensitive_variables()
    def _check_secret(self, provided_secret: str, stored_secret: str) -> bool:
        return client_secrets.current.get().is_right(provided_secret, stored_secret)

    @sensitive_variables()
    def _authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        if super().authenticate_client(request, *args, **kwargs):
            return True
        credentials = key_clients.presented(request.headers, request._params)
        if credentials is None:
            return False
        # Load it again: the check of the form has unset the client of HTTP Basic.
        client = self._load_application(credentials.client_id, request)
        return (
            client is not None
            and client.client_type == client.CLIENT_CONFIDENTIAL
            and registration.is_previous_secret(client, credentials.secret)
        )

    def _validate_resource_uris(self, request: Any, resources: Any) -> None:
        targets.check(resources, request=request)

    def _create_authorization_code(self, request: Any, code: Any, expires: Any = None) -> Any:
        grant = super()._create_authorization_code(request, code, expires)
        self._record_consent(request, grant.scope, code=grant)
        return grant

    def _record_consent(self, request: Any, scope: str, **found_by: Any) -> Any:
        """Save the consent of a request. The authorization endpoint sets both attributes."""
        facts = vars(request)  # see noted()
        given = consent.save(
            request.user,
            request.client,
            scope,
            facts["apikeys_projects"],
            is_given=facts["apikeys_is_given"],
            is_narrowed=facts["apikeys_is_narrowed"],
            **found_by,
        )
        if facts["apikeys_is_given"]:
            consent.tell(given, facts["apikeys_projects"])
        return given

    def validate_silent_login(self, request: Any) -> bool:
        """Leave ``prompt=none`` to the authorization page, which knows the session."""
        return True

    def validate_silent_authorization(self, request: Any) -> bool:
        """Leave ``prompt=none`` to the authorization page, as above."""
        return True

    @sensitive_variables("code")
    def validate_code(
        self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        found = super().validate_code(client_id, code, client, request, *args, **kwargs)
        if not found or not is_active(request.user):
            return False
        # The user may have narrowed the consent since, or the owner of the client its limit.
        names = consent.within(request.scopes, code__code=code, application=client)
        request.scopes = scopes.limited(names, client)
        return bool(request.scopes)

    def get_original_scopes(
        self, refresh_token: str, request: Any, *args: Any, **kwargs: Any
    ) -> list[str]:
        """Return the scopes of a refresh token, within its consent as it is now."""
        found = super().get_original_scopes(refresh_token, request, *args, **kwargs)
        names = found.split() if isinstance(found, str) else list(found)
        pk = noted(request, "apikeys_consent_id")
        left = names if pk is None else consent.within(names, pk=pk)
        left = scopes.limited(left, request.client)
        if not left:
            raise errors.InvalidGrantError("No scope of the token is left.", request=request)
        if request.scope:
            # Some clients repeat the scope that they once got. Leave out what was taken back.
            gone = scopes_of_site.expand(" ".join(names)) - scopes_of_site.expand(" ".join(left))
            request.scope = " ".join(n for n in request.scope.split() if n not in gone)
            if not request.scope:
                raise errors.InvalidScopeError(request=request)
        return left

    @sensitive_variables()
    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        if not super().validate_refresh_token(refresh_token, client, request, *args, **kwargs):
            return False
        if request.user is None or not is_active(request.user):
            return False
        if lifetimes.refresh_token_is_over(request.refresh_token_instance, timezone.now()):
            return False
        # Read it now: the rotation deletes the access token that stores it.
        request.apikeys_consent_id = consent.of_refresh_token(
            request.refresh_token_instance, request
        )
        return True

    @sensitive_variables("token")
    def save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if token.get("scope"):  # a request may repeat a scope
            token["scope"] = " ".join(dict.fromkeys(token["scope"].split()))
        with transactions.atomic(get_access_token_model()):
            return super().save_bearer_token(token, request, *args, **kwargs)

    def _save_bearer_token(self, token: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Save the token. End the descendants of the access token that it replaces.

        A rotation deletes the old row, which ends them; without rotation the row is reused.
        """
        before = noted(request, "refresh_token_instance")
        # Without the attribute, DOT would read a form parameter of this name.
        request.refresh_token_instance = before
        if before is not None and before.access_token_id and not self.rotate_refresh_token(request):
            chains.end_below([before.access_token_id])
        return super()._save_bearer_token(token, request, *args, **kwargs)

    def _create_access_token(
        self, expires: Any, request: Any, token: Any, source_refresh_token: Any = None
    ) -> Any:
        own = own_clients.consent_of(request.client) if _acts_for_owner(request) else None
        if own is not None:
            request.user = request.client.user  # DOT has just removed the user
            request.apikeys_consent_id = own.pk
        elif _acts_for_owner(request):
            raise errors.UnauthorizedClientError(request=request)
        row = super()._create_access_token(expires, request, token, source_refresh_token)
        # Set only by the authorization endpoint, for the implicit grant and the hybrid flow.
        if noted(request, "apikeys_is_given") is not None:
            consent_id = self._record_consent(request, row.scope).pk
        else:
            consent_id = consent.of_request(request)
        if consent_id is not None:
            TokenOrigin.objects.create(access_token=row, consent_id=consent_id)
        if request.grant_type != "refresh_token":
            token_issued.send(
                type(row),
                application=request.client,
                by=row.user,
                user=row.user,
                scope=row.scope,
                grant_type=request.grant_type or "implicit",
            )
        return row

    @sensitive_variables()
    def validate_user(
        self, username: str, password: str, client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        """Return whether the password is right. Raise ``TooManyTries``.

        Raise ``UnauthorizedClientError`` for a client without the password grant; oauthlib
        checks that only after the password.
        """
        if client.client_id not in oauth_settings.FIRST_PARTY_CLIENTS:
            raise errors.UnauthorizedClientError(request=request)
        counters = password_attempts.count(username, AddressedRequest(request.headers))
        if not super().validate_user(username, password, client, request, *args, **kwargs):
            return False
        attempts.give_back(*counters)
        return True

    @sensitive_variables()
    def validate_device_code(
        self, client_id: str, code: str, request: Any, *args: Any, **kwargs: Any
    ) -> str | None:
        """Return the status of a device code; ``None`` if it is another client's (RFC 8628)."""
        client = request.client
        status = device.poll(client.client_id if client else client_id, code, request)
        if (grant := noted(request, "device_grant")) is not None:
            # As for a code
            names = consent.within(request.scopes, device=grant)
            request.scopes = scopes.limited(names, client)
        return status

    def get_oidc_issuer_endpoint(self, request: Any) -> str:
        """Return the issuer of this server, even if no discovery document is mounted."""
        return issuer(request.headers)

    def finalize_id_token(self, id_token: Any, token: Any, token_handler: Any, request: Any) -> Any:
        if not scopes.gets_id_tokens(request.client):  # its algorithm was removed meanwhile
            raise errors.InvalidScopeError("This client cannot get ID tokens.", request=request)
        return super().finalize_id_token(id_token, token, token_handler, request)

    @sensitive_variables()
    def _load_access_token(self, token: str) -> Any:
        """Return the row of an access token, or ``None`` if its key or consent ended."""
        return bearer.load(token)

    @sensitive_variables()
    def revoke_token(
        self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any
    ) -> None:
        if not key_clients.revoke_key(token):
            with transactions.atomic(get_access_token_model()):
                super().revoke_token(token, token_type_hint, request, *args, **kwargs)


def validate(text: str, bearer_request: Any) -> Any:
    """Return the valid access token ``text``, with its user and application, or ``None``.

    Calls the validator's ``validate_bearer_token`` if the site overrides it, or if another
    server introspects the tokens. The caller hides all variables from error reports.
    """
    if is_checked_here():
        return bearer.validate(text, bearer_request)
    validator = oauth2_settings.OAUTH2_VALIDATOR_CLASS()
    if not validator.validate_bearer_token(text, [], bearer_request):
        return None
    return bearer_request.access_token


def is_checked_here() -> bool:
    """Return whether ``bearer.validate`` gives the same answers as the site's validator."""
    return not oauth2_settings.RESOURCE_SERVER_INTROSPECTION_URL and _checks_as_ours(
        oauth2_settings.OAUTH2_VALIDATOR_CLASS
    )


@lru_cache
def _checks_as_ours(validator: type[OAuth2Validator]) -> bool:
    return validator.validate_bearer_token is OAuth2Validator.validate_bearer_token and (
        validator._load_access_token
        in (OAuth2Validator._load_access_token, Validator._load_access_token)
    )
