"""Dynamic client registration for users (RFC 7591, RFC 7592)."""

import json
from copy import copy
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.decorators import method_decorator
from oauth2_provider import views
from oauth2_provider.dcr import IsAuthenticatedDCRPermission
from oauth2_provider.models import get_application_model
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import dynamic_client_registration as dcr

from ...models import get_project_model
from .. import authorizations, consent, own_clients, registration
from ..device import GRANT_TYPE as DEVICE
from ..http import is_text
from ..registration import RegistrationError
from .token import ENDPOINT, error_response, finished, too_many

_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class DynamicClientRegistrationView(views.DynamicClientRegistrationView):
    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return finished(request, super().dispatch(request, *args, **kwargs))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Read the body first: a permission that reads the form would consume it.
        body = request.body
        if not dcr._check_permissions(request):
            refused: HttpResponse = dcr._error_response(
                "access_denied", "Log in, or send a token with the registration scope.", 401
            )
            return refused
        model = get_application_model()
        # If the site lets anyone register, an anonymous visitor's client has no user. Neither
        # has a client that another site made a logged-in browser register.
        user: Any = request.user if IsAuthenticatedDCRPermission().has_permission(request) else None
        application = model(user=user, registration_source=model.RegistrationSource.DCR)
        try:
            grants = _apply(application, body)
            registration.check(application, user, grants=grants)
            own = _extent(body, grants, application, request)
            if user is None and registration.are_too_many(request):
                message = "Too many clients were registered. Try again later."
                return too_many(message, registration.WINDOW)
        except RegistrationError as error:
            return error_response(error.code, error.message)
        secret = registration.save(application, grants, new_secret=True, own=own)
        token = registration.issue_token(application, user)
        data = _registered(application, token, request)
        if secret is not None:
            # RFC 7591 section 3.2.1: required with a secret; 0 means never.
            data |= {"client_secret": secret, "client_secret_expires_at": 0}
        return JsonResponse(data, status=201, headers=_NO_STORE)


class DynamicClientRegistrationManagementView(views.DynamicClientRegistrationManagementView):
    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return finished(request, response)

    def _authenticate_registration_request(self, request: HttpRequest, client_id: str) -> Any:
        auth = super()._authenticate_registration_request(request, client_id)
        if isinstance(auth, HttpResponse) or registration.has_active_owner(auth.application):
            return auth
        return dcr._error_response("invalid_token", "The client's user is deactivated.", 401)

    def get(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        auth = self._authenticate_registration_request(request, client_id)
        if isinstance(auth, HttpResponse):
            return auth
        return JsonResponse(_registered(auth.application, auth.presented_token, request))

    def put(self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any) -> HttpResponse:
        auth = self._authenticate_registration_request(request, client_id)
        if isinstance(auth, HttpResponse):
            return auth
        application, token = auth.application, auth.presented_token
        was, before = application.client_type, copy(application)
        try:
            grants = _apply(application, request.body)
            if application.client_type != was:
                raise RegistrationError(
                    "invalid_client_metadata", "token_endpoint_auth_method cannot be changed."
                )
            if own_clients.GRANT in set(grants) - set(registration.grants_of(before)):
                # Its registration token comes with no consent of the user.
                message = "client_credentials cannot be added to an existing client."
                raise RegistrationError("invalid_client_metadata", message)
            registration.check(application, application.user, grants=grants, is_new=False)
        except RegistrationError as error:
            return error_response(error.code, error.message)
        registration.save(application, grants, new_secret=False)
        if oauth2_settings.DCR_ROTATE_REGISTRATION_TOKEN_ON_UPDATE:
            token = registration.issue_token(application, application.user)
            auth.registration_token.delete()
        return JsonResponse(_registered(application, token, request))

    def delete(
        self, request: HttpRequest, client_id: str, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        auth = self._authenticate_registration_request(request, client_id)
        if isinstance(auth, HttpResponse):
            return auth
        authorizations.delete(auth.application)
        return HttpResponse(status=204)


def _is_exchanged(access: Any) -> bool:
    return set(access.upstream.split()) > {f"client:{access.client.pk}"}


def _extent(
    body: bytes, grants: list[str], application: Any, request: HttpRequest
) -> tuple[list[str], list[Any] | None] | None:
    """Return the scopes and projects of a client that acts for its owner; ``None`` for others.

    They are never more than the token has that registers the client. Raise
    ``RegistrationError`` for a scope that the client cannot have.
    """
    if own_clients.GRANT not in grants:
        return None
    scope = json.loads(body).get("scope")
    if scope is not None and not isinstance(scope, str):
        raise RegistrationError("invalid_client_metadata", "scope must be a string.")
    access = vars(request).get("apikeys_access")
    if access is not None and (access.key or access.is_for_some_resources or _is_exchanged(access)):
        # The client would outlive what limits this token.
        message = "This token depends on a key, another token or a resource, so it cannot do this."
        raise RegistrationError("invalid_client_metadata", message)
    if scope is None and access is not None:
        names = [n for n in access.scope.split() if n != oauth2_settings.DCR_REGISTRATION_SCOPE]
    else:
        names = registration.default_scopes() if scope is None else scope.split()
    allowed = consent.allowed(names, request.user, application.client_id)
    if access is not None and not access.allows(*names):
        allowed = [name for name in allowed if access.allows(name)]
    if not names or oauth2_settings.DCR_REGISTRATION_SCOPE in names or set(allowed) != set(names):
        message = "The client cannot have one of these scopes."
        raise RegistrationError("invalid_client_metadata", message)
    pks = None if access is None else access.selected_pks()
    if pks is None:
        return names, None
    return names, list(get_project_model()._default_manager.filter(pk__in=pks))


def _apply(application: Any, body: bytes) -> list[str]:
    """Set the metadata (RFC 7591 section 2) on ``application``; return its grant types.

    Raise ``RegistrationError`` for invalid metadata.
    """
    try:
        data, refused = dcr._parse_metadata(body)
    except RecursionError:
        raise RegistrationError(
            "invalid_client_metadata", "The body is nested too deeply."
        ) from None
    if refused is not None:
        raise RegistrationError(
            "invalid_client_metadata", json.loads(refused.content)["error_description"]
        )
    names = data.get("grant_types", ["authorization_code"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RegistrationError("invalid_client_metadata", "grant_types must be an array.")
    grants = [name for name in dict.fromkeys(names) if name != "refresh_token"]
    if data.get("client_id") not in (None, application.client_id) and application.pk:
        raise RegistrationError("invalid_client_metadata", "client_id cannot be changed.")
    name = data.get("client_name", "")
    if not isinstance(name, str) or not is_text(name):
        raise RegistrationError("invalid_client_metadata", "client_name must be a string.")
    # DOT stores one grant type per client; ``registration`` checks and stores all of them, and
    # checks the redirect URIs. So give DOT a grant type that needs no redirect URI.
    kwargs, refused = dcr._build_application_kwargs(data | {"grant_types": ["client_credentials"]})
    if refused is not None:
        found = json.loads(refused.content)
        raise RegistrationError(found["error"], found["error_description"])
    del kwargs["authorization_grant_type"]
    for field, value in kwargs.items():
        setattr(application, field, value)
    application.name = application.name.strip() or "A program of yours"
    application.authorization_grant_type = registration.DOT_GRANTS.get(
        grants[0] if grants else "", "authorization-code"
    )
    return grants


def _registered(application: Any, token: str, request: HttpRequest) -> dict[str, Any]:
    data: dict[str, Any] = dcr._application_to_response(application, token, request)
    grants = registration.grants_of(application)
    refreshes = {"authorization_code", DEVICE}.intersection(grants)
    if own_clients.GRANT in grants and (given := own_clients.consent_of(application)):
        data["scope"] = given.scope
    return data | {
        "grant_types": [*grants, *(["refresh_token"] if refreshes else [])],
        "response_types": ["code"] if "authorization_code" in grants else [],
        "client_id_issued_at": int(application.created.timestamp()),
    }
