"""Issue a token for an agent from a login: fewer scopes, some projects, and an hour or so.

A program proves its login with its refresh token (RFC 8693), which stays usable. The new token
ends with the login: when the program logs out, or when its user revokes its access.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from django.db import router
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import get_application_model
from oauthlib.oauth2.rfc6749 import errors

from .. import scopes
from ..conf import slug_field
from ..policy import get_policy
from . import consent, issue
from .models import Consent

REFRESH_TOKEN: Final = "urn:ietf:params:oauth:token-type:refresh_token"  # noqa: S105 - a type
LONGEST: Final = timedelta(days=1)
_MOST_PROJECTS: Final = 100


@sensitive_variables()
def subject(request: Any, text: str, client: Any, validator: Any) -> issue.Subject:
    """Return the subject of a token for an agent. Raise an ``OAuth2Error``."""
    if not isinstance(client, get_application_model()):
        raise errors.InvalidClientError
    if not validator.validate_refresh_token(text, client, request):
        raise errors.InvalidRequestError("The subject token is not valid.")
    row = request.refresh_token_instance
    login_consent = Consent.objects.using(router.db_for_write(Consent)).filter(
        pk=request.apikeys_consent_id
    )
    given = login_consent.first()
    scope = row.access_token.scope if row.access_token is not None else ""
    if given is None or row.token_family is None or not scope:
        raise errors.InvalidRequestError("This login cannot issue a token.")
    scope = scopes.narrow(scope, given.scope)
    if request.scopes and not scopes.expand(scope).issuperset(request.scopes):
        raise errors.InvalidScopeError("The login does not have this scope.", request=request)
    own = consent.save(
        request.user,
        client,
        scopes.join(request.scopes or scope.split()),
        _projects(request, given),
        is_given=False,
    )
    return issue.Subject(
        scope=own.scope,
        expires_at=None,
        lifetime=_lifetime(request),
        user=request.user,
        upstream=f"client:{client.pk} login:{row.token_family}",
        consent=own,
        resource=row.access_token.resource or (),
    )


def _lifetime(request: Any) -> timedelta:
    text = str(request._params.get("expires_in") or "3600")
    if not (text.isascii() and text.isdigit() and len(text) < 7 and int(text) > 0):
        raise errors.InvalidRequestError("expires_in must be a number of seconds.")
    seconds = int(text)
    if timedelta(seconds=seconds) > LONGEST:
        raise errors.InvalidRequestError("expires_in must be at most a day.")
    return timedelta(seconds=seconds)


def _projects(request: Any, given: Consent) -> Sequence[Any] | None:
    """Return the requested projects that the login reaches; ``None`` for all."""
    names = [value for name, value in request.decoded_body or [] if name == "project" and value]
    if len(names) > _MOST_PROJECTS:
        raise errors.InvalidRequestError(f"A request takes at most {_MOST_PROJECTS} projects.")
    held = consent.projects_of(given)
    if not names:
        return held
    found = list(get_policy().projects(request.user).filter(**{f"{slug_field()}__in": set(names)}))
    if held is not None:
        found = [project for project in found if project in held]
    if len(found) != len(set(names)):
        raise errors.InvalidRequestError("The login does not reach one of these projects.")
    return found
