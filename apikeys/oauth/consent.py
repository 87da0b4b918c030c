"""Store and read consents: the scopes and projects that a user allows an application to use."""

from collections.abc import Iterable
from typing import Any

from django.db import router
from django.db.models import Q
from django.utils import timezone
from oauth2_provider.scopes import get_scopes_backend
from oauthlib.oauth2.rfc6749 import errors

from .. import scopes
from ..databases import transactions
from ..lifecycle.permitted import to_approve
from ..policy import get_policy
from .conf import oauth_settings
from .http import noted
from .models import Consent, TokenOrigin
from .scopes import OPENID, registration_scope
from .signals import consent_given


def allowed(names: Iterable[str], user: Any, client_id: str) -> list[str]:
    """Return the scopes in ``names`` that ``user`` may grant to this client.

    Excludes scopes that the user does not have, and scopes that need an approval.
    """
    own = _own(names, user)
    held_back = set(withheld(own, user, client_id))
    return [name for name in own if name not in held_back]


def withheld(names: Iterable[str], user: Any, client_id: str) -> list[str]:
    """Return the scopes in ``names`` that ``user`` has, but that need an approval.

    A key can be pending approval, a client cannot, so a client never gets such a scope. The
    ``FIRST_PARTY_CLIENTS`` need no approval.
    """
    if client_id in oauth_settings.FIRST_PARTY_CLIENTS:
        return []
    return [name for name in _own(names, user) if to_approve(user, name)]


def _own(names: Iterable[str], user: Any) -> list[str]:
    grantable = get_policy().grantable(user)
    # A request may repeat a scope.
    return [n for n in dict.fromkeys(names) if n in grantable or n == registration_scope()]


def described(names: Iterable[str]) -> list[str]:
    """Return the description of each scope, or its name if no description is declared."""
    words = get_scopes_backend().get_all_scopes()
    known = {*words, registration_scope()}
    return [str(words[name]) if name in known else name for name in names]


def read_only(names: Iterable[str]) -> list[str]:
    """Return the part of ``names`` that changes nothing: the scopes that read, and ``openid``."""
    known = scopes.declared()
    return sorted(
        name
        for name in scopes.expand(scopes.join(names))
        if name in known and (scopes.is_read_only(name) or name == OPENID)
    )


def told(names: Iterable[str], user: Any, client_id: str) -> dict[str, list[str]]:
    """Return the template context that describes the scopes which a client requests."""
    names = list(names)
    return {
        "scopes_descriptions": described(allowed(names, user, client_id)),
        "withheld_descriptions": described(withheld(names, user, client_id)),
    }


def save(
    user: Any,
    application: Any,
    scope: str,
    projects: Iterable[Any] | None,
    *,
    is_given: bool,
    is_narrowed: bool = False,
    **found_by: Any,
) -> Consent:
    """Store a consent. ``projects`` is ``None`` for all projects of the user.

    Set ``is_given`` if the user answered a consent page, and ``is_narrowed`` if they gave less
    than the page offered. ``found_by`` is the ``code`` or the ``device`` that the consent
    belongs to.
    """
    with transactions.atomic(Consent):
        consent = Consent.objects.create(
            user=user,
            application=application,
            scope=scope,
            all_projects=projects is None,
            is_given=is_given,
            narrowed_at=timezone.now() if is_narrowed else None,
            **found_by,
        )
        consent.projects.set(projects or ())
    return consent


def tell(consent: Consent, projects: Iterable[Any] | None) -> None:
    """Send the signal of a consent that the user gave on a consent page."""
    consent_given.send(
        Consent,
        application=consent.application,
        by=consent.user,
        user=consent.user,
        scope=consent.scope,
        projects=projects,
    )


def covering(user: Any, application: Any, names: Iterable[str]) -> Consent | None:
    """Return the latest consent that ``user`` gave ``application`` to all of ``names``.

    Locks the row, so call it in a transaction. One consent must cover all scopes: consents are
    not combined, and an existing token does not count as a consent.
    """
    wanted = set(names)
    found = given(user, application).select_for_update()
    return next((each for each in found if scopes.expand(each.scope) >= wanted), None)


def given(user: Any, application: Any) -> Any:
    """Return the consents that ``user`` gave ``application`` on a consent page, newest first."""
    return _consents().filter(user=user, application=application, is_given=True).order_by("-pk")


def within(names: Iterable[str], **found_by: Any) -> list[str]:
    """Return the part of ``names`` that the consent ``found_by`` allows now."""
    scope = _consents().filter(**found_by).values_list("scope", flat=True).first()
    return [] if scope is None else scopes.narrow(" ".join(names), scope).split()


def was_given(user: Any, application: Any) -> bool:
    """Return whether ``application`` has a consent that ``user`` gave on a consent page."""
    return bool(given(user, application).exists())


def is_restricted(user: Any, application: Any) -> bool:
    """Return whether ``user`` ever limited ``application`` to some projects or scopes."""
    consents = _consents().filter(user=user, application=application)
    limited = Q(all_projects=False) | Q(narrowed_at__isnull=False)
    return bool(consents.filter(limited).exists())


def projects_of(consent: Consent) -> list[Any] | None:
    """Return the selected projects; ``None`` for all."""
    return None if consent.all_projects else list(consent.projects.all())


def of_request(request: Any) -> Any:
    """Return the primary key of the consent that the token of this request depends on.

    Return ``None`` for a grant without a consent page. Raise ``InvalidGrantError`` if the
    consent was withdrawn, or if another user gave it: two users may confirm the same device
    code at the same moment.
    """
    consents = _consents().filter(user=request.user).order_by("-pk").values_list("pk", flat=True)
    if request.grant_type == "authorization_code":
        consents = consents.filter(code__code=request.code, application=request.client)
    elif (device := noted(request, "device_grant")) is not None:
        consents = consents.filter(device=device, application=request.client)
    else:
        return noted(request, "apikeys_consent_id")
    if (found := consents.first()) is None:
        raise _withdrawn(request)
    return found


def of_refresh_token(refresh_token: Any, request: Any) -> Any:
    """Return the primary key of the consent that a refresh token depends on, or ``None``.

    Raise ``InvalidGrantError`` if the consent was withdrawn.
    """
    origins = TokenOrigin.objects.using(router.db_for_write(TokenOrigin))
    if refresh_token.access_token_id is None:  # already used, but within its grace period
        found = origins.filter(access_token__source_refresh_token=refresh_token)
    else:
        found = origins.filter(access_token=refresh_token.access_token_id)
    pk = found.values_list("consent", flat=True).first()
    if pk is not None and not _consents().filter(pk=pk).exists():
        raise _withdrawn(request)
    return pk


def _withdrawn(request: Any) -> errors.OAuth2Error:
    return errors.InvalidGrantError("The consent was withdrawn.", request=request)


def _consents() -> Any:
    return Consent.objects.using(router.db_for_write(Consent))
