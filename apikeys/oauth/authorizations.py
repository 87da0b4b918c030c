"""List and revoke the authorizations that users gave to applications."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import router
from django.db.models import CASCADE
from django.utils import timezone
from django.utils.translation import gettext as _
from oauth2_provider.models import (
    get_access_token_model,
    get_device_grant_model,
    get_grant_model,
    get_refresh_token_model,
)
from oauth2_provider.settings import oauth2_settings

from .. import scopes
from ..databases import deletions, transactions
from ..databases.primary import reading_primary
from ..lifecycle import descendants
from . import chains
from .models import Consent
from .signals import client_deleted, consent_withdrawn

_BATCH: Final = 250  # rows of each table in one transaction

#: The last primary keys of the previous batch: of consents, codes, device codes and tokens.
_After = tuple[Any, ...]
_START: Final[_After] = (None,) * 5


class Authorization(NamedTuple):
    """A user, and an application that holds active tokens of this user."""

    user: Any
    application: Any
    scopes: tuple[str, ...]
    #: The selected projects; ``None`` for all projects of the user.
    projects: list[Any] | None
    since: datetime
    #: When it last got an access token.
    last_used: datetime
    #: Whether the user can narrow it: each of its tokens depends on a consent.
    is_narrowable: bool = True


@reading_primary()
def live(*, user: Any = None, application: Any = None, users: Any = None) -> list[Authorization]:
    """Return the active authorizations of ``user`` or of ``application``, newest first.

    ``users`` is a queryset of users. The number of queries does not depend on their number.
    """
    who = {"user": user} if user is not None else {"application": application}
    if users is not None:
        who = {"user__in": users}
    access = (
        get_access_token_model()
        ._default_manager.filter(**who, user__isnull=False, application__isnull=False)
        .exclude(scope=_registration())
    )  # a client manages its own registration with these; they carry no rights of a user
    refresh = get_refresh_token_model()._default_manager.filter(
        **who, revoked=None, access_token__isnull=False
    )
    consent = "apikeys_origin__consent"
    rows = [
        *access.filter(expires__gt=timezone.now()).values_list(
            "user", "application", "scope", "created", consent
        ),
        *refresh.values_list(
            "user", "application", "access_token__scope", "created", f"access_token__{consent}"
        ),
    ]
    consents = _in_bulk(Consent.objects.prefetch_related("projects"), {row[4] for row in rows})
    pairs: dict[tuple[Any, Any], _Held] = {}
    for user_id, app_id, scope, created, consent_id in rows:
        if consent_id is not None and consent_id not in consents:
            continue  # the consent was withdrawn
        pair, given = (user_id, app_id), consents.get(consent_id)
        held = pairs.setdefault(pair, _Held(created, created))
        if given is not None:
            scope = scopes.narrow(scope, given.scope)
        held.scopes |= set(scope.split())
        # A refresh replaces the row of a token, but not the consent.
        held.since = min(held.since, created, given.created_at if given is not None else created)
        held.last_used = max(held.last_used, created)
        held.consents.append(given)
    users = _in_bulk(_manager_of("user"), {u for u, _ in pairs})
    apps = _in_bulk(_manager_of("application"), {a for _, a in pairs})
    found = []
    for (user_id, app_id), held in pairs.items():
        if user_id not in users or app_id not in apps:
            continue  # hidden by the default manager
        listed = scopes.split(" ".join(held.scopes))
        found.append(
            Authorization(
                users[user_id],
                apps[app_id],
                listed,
                held.projects(),
                held.since,
                held.last_used,
                is_narrowable=None not in held.consents,
            )
        )
    return sorted(found, key=lambda each: each.since, reverse=True)


@reading_primary()
def number_of_users(applications: Collection[Any]) -> dict[Any, int]:
    """Return how many users authorized each of ``applications``, by primary key. Two queries."""
    pks = [each.pk for each in applications]
    found: dict[Any, set[Any]] = {pk: set() for pk in pks}
    tokens = get_access_token_model()._default_manager.exclude(scope=_registration())
    refresh = get_refresh_token_model()._default_manager.filter(access_token__isnull=False)
    for rows in (tokens.filter(expires__gt=timezone.now()), refresh.filter(revoked=None)):
        pairs = rows.filter(application__in=pks, user__isnull=False)
        for pk, user in pairs.values_list("application", "user").distinct():
            found[pk].add(user)
    return {pk: len(users) for pk, users in found.items()}


@dataclass
class _Held:
    """The combined scopes and projects of a user's active tokens for one application."""

    since: datetime
    last_used: datetime
    scopes: set[str] = field(default_factory=set)
    #: The consent of each token; ``None`` for a token that depends on no consent.
    consents: list[Any] = field(default_factory=list)

    def projects(self) -> list[Any] | None:
        if any(consent is None or consent.all_projects for consent in self.consents):
            return None
        reached = {each.pk: each for consent in self.consents for each in consent.projects.all()}
        return [reached[pk] for pk in sorted(reached)]


def _manager_of(name: str) -> Any:
    return Consent._meta.get_field(name).related_model._default_manager  # type: ignore[union-attr]


def _in_bulk(rows: Any, pks: set[Any]) -> dict[Any, Any]:
    by_pk: dict[Any, Any] = rows.in_bulk(pks - {None})
    return by_pk


@reading_primary()
def end(application: Any, user: Any = None, *, by: Any = None) -> None:
    """Revoke the authorization that ``user`` gave to ``application``; ``None`` for all users.

    Takes effect at the next request. More than 250 rows end in several transactions, so that
    none holds its locks for long: each row has ended when its transaction commits. If the call
    is interrupted, repeat it. Inside another transaction, there is only that one.
    """
    who = {"application": application} | ({} if user is None else {"user": user})
    _end_all(application, who, by)


def _end_all(application: Any, who: Mapping[str, Any], by: Any, *, is_kept: bool = True) -> None:
    told: set[Any] = set()
    after: _After | None = _START
    while after is not None:
        after, users = _end_some(application, who, after, told, by, is_kept)
        told |= users


@reading_primary()
def delete(application: Any, *, by: Any = None) -> None:
    """Delete ``application`` with all its tokens, like ``end`` in several transactions.

    ``application.delete()`` takes one transaction, and locks all the rows until its end.
    """
    who = {"application": application}
    _end_all(application, who, by, is_kept=False)
    for relation in application._meta.related_objects:
        if relation.on_delete is CASCADE and relation.related_model is not None:
            _delete_rows(relation.related_model, {relation.field.name: application})
    with transactions.atomic(type(application)):
        _end_all(application, who, by, is_kept=False)  # what was issued meanwhile
        client_deleted.send(type(application), application=application, by=by)
        application.delete()


def _delete_rows(model: Any, who: Mapping[str, Any]) -> None:
    """Delete the rows that go with an application, such as its revoked refresh tokens."""
    rows = model._base_manager.using(router.db_for_write(model))
    after = None
    while pks := _first(rows.filter(**who), after):
        with transactions.atomic(model):
            rows.filter(pk__in=pks).delete()
        after = pks[-1]


@transactions.retried
def _end_some(
    application: Any,
    who: Mapping[str, Any],
    after: _After,
    told: Collection[Any],
    by: Any,
    is_kept: bool,
) -> tuple[_After | None, set[Any]]:
    """End up to ``_BATCH`` rows of each table, from ``after`` on.

    Return where to continue (``None`` if no row is left) and the users of the rows. Sends the
    signal of each user that is not in ``told``. The databases keep deleted rows for a while, and
    would walk past all of them to find the first row that is left. ``is_kept`` is whether the
    revoked refresh tokens stay, to recognise their reuse.
    """
    user = who.get("user")
    with transactions.atomic(get_access_token_model()):
        # A request that issues a code without the consent page holds a lock on the consent.
        # Wait for it, so that its code is deleted as well.
        consents = Consent.objects.filter(**who)
        given = _first(consents.select_for_update(), after[0])
        grants = get_grant_model()._default_manager.filter(**who)
        devices = get_device_grant_model()._default_manager.filter(client_id=application.client_id)
        if user is not None:
            devices = devices.filter(user=user)
        # A client keeps the token that manages its own registration.
        tokens = get_access_token_model()._default_manager.filter(**who)
        tokens = tokens.exclude(scope=_registration())
        refresh = get_refresh_token_model()._default_manager.filter(**who, revoked=None)
        tables = zip((grants, devices, refresh, tokens), after[1:], strict=True)
        found = [given, *(_first(rows, pk) for rows, pk in tables)]
        users = {
            pk
            for rows, pks in ((consents, given), (refresh, found[3]), (tokens, found[4]))
            for pk in rows.filter(pk__in=pks).values_list("user", flat=True).distinct()
        } - {None}
        grants.filter(pk__in=found[1]).delete()
        devices.filter(pk__in=found[2]).delete()
        if is_kept:
            refresh.filter(pk__in=found[3]).update(revoked=timezone.now())
        else:
            refresh.filter(pk__in=found[3]).delete()
        # Include expired tokens: a key created with one may still be active.
        chains.end_below(found[4])
        is_end = all(len(pks) < _BATCH for pks in found)
        # Look from the start once more: another transaction may have committed an earlier row.
        is_last = is_end and after == _START
        if is_last:
            # End keys whose token has no row any more, because it was refreshed or pruned.
            descendants.end_from(
                [f"client:{application.pk}"],
                user=user,
                reason=_("Created by an application whose authorization was revoked."),
            )
        # The tokens of these consents end here or with the next rows, and at once with them.
        deletions.skip(tokens, found[4], chains.NAME).delete()
        if is_last:  # also consents that were created while this waited for the locks
            given = list(consents.values_list("pk", flat=True))
        deletions.skip(consents, given, chains.NAME).delete()
        for each in _in_bulk(_manager_of("user"), users - set(told)).values():
            consent_withdrawn.send(Consent, application=application, user=each, by=by)
    if is_end:
        return (None if is_last else _START), users
    return tuple(pks[-1] if pks else last for pks, last in zip(found, after, strict=True)), users


def _first(rows: Any, after: Any = None) -> list[Any]:
    """Return the primary keys of the next ``_BATCH`` rows, those after ``after``."""
    if after is not None:
        rows = rows.filter(pk__gt=after)
    return list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH])


def _registration() -> str:
    return str(oauth2_settings.DCR_REGISTRATION_SCOPE)
