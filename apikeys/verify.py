"""Verify a credential. This module runs at every request.

A key takes one query, which includes its user or project, or none with the cache. Malformed
text takes none. Nothing of a row is used or revealed before its secret has been checked.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple, cast

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.core.signals import setting_changed
from django.db import router
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from . import acceptance, cache, hashing, refusals, restrictions, token, upstreams, usage
from .access import PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Access, ProjectUser
from .cache import project_users
from .cache.lifetimes import Aging
from .cache.lookup import Group, Lookup, Row, all_except
from .conf import app_settings
from .conf.endings import end_settings
from .databases import unavailable
from .databases.primary import is_reading_primary, reading_primary
from .hashing.converted import check_rest, renew_digest
from .limits import networks
from .models import PersonalAccessToken, ProjectKey
from .models.owners import is_active
from .refusals import Refused
from .restrictions import EMPTY, NAMES
from .restrictions.base import Circumstances, Phase

__all__ = ["Resolver", "averify", "register", "verify"]

#: Verifies text that is not a key. Returns ``None`` if it is not in charge, or raises ``Refused``.
Resolver = Callable[[str, HttpRequest | None], Access | None]

NOT_IN_CHARGE: Final = object()
#: Verifies without a query. Returns ``None`` if the answer is not in memory.
Recall = Callable[[str, HttpRequest | None], Any]

_resolvers: list[Resolver] = []
_recalls: dict[Resolver, Recall] = {}


class Key(NamedTuple):
    """The columns of the key at the start of a row. The columns of the owner follow."""

    pk: int
    digest: str
    pepper_id: str
    name: str
    scope: str
    expires_at: datetime | None
    revoked_at: datetime | None
    is_pending: bool
    paused_at: datetime | None
    upstream: str
    #: The text of a JSON object, or ``None``.
    metadata: str | None
    #: In the order of ``RESTRICTIONS``. ``EMPTY`` itself if the key has no restrictions.
    restrictions: tuple[Any, ...]
    all_projects: bool = True


class Use(NamedTuple):
    """The purpose of a verification."""

    #: Record the time and address as the last use of the key.
    counts: bool = True
    #: The key is exchanged for an access token.
    exchange: bool = False
    #: Another server asks, so its address says nothing about the holder. Skip networks.
    anywhere: bool = False


#: A request to the API.
REQUEST = Use()

_RESTRICTIONS = Group(NAMES, EMPTY)

#: The columns of a project key.
FIELDS = (*Key._fields[:-2], _RESTRICTIONS)

_LOOKUPS: dict[str, Lookup] = {}


def _look_up_keys(*, setting: str = "APIKEYS", **kwargs: object) -> None:
    if setting == "APIKEYS":
        user, project = {"user": all_except("password")}, {"project": all_except()}
        of_tokens = Aging if end_settings.ENFORCE_LONGEST_LIFETIME else Lookup
        fields = (*FIELDS, "all_projects")
        _LOOKUPS[token.PAT] = of_tokens(PersonalAccessToken, "public_id", fields, user, ["user"])
        lookup = project_users.make(ProjectKey, "public_id", FIELDS, project, ["project"])
        _LOOKUPS[token.KEY] = lookup


_look_up_keys()
setting_changed.connect(_look_up_keys, dispatch_uid="apikeys.verify")
Build = Callable[[str, Key, Any], Access]
_NO_DIGEST = "0" * 64


def register(resolver: Resolver, recall: Recall | None = None, *, first: bool = False) -> None:
    """Register ``resolver`` for credentials that do not look like keys of this site.

    ``recall`` does it from memory. It returns ``None`` if it cannot, or ``NOT_IN_CHARGE``.
    """
    if resolver not in _resolvers:
        _resolvers.insert(0 if first else len(_resolvers), resolver)
        if recall is not None:
            _recalls[resolver] = recall


def unregister(resolver: Resolver) -> None:
    """Remove ``resolver``."""
    if resolver in _resolvers:
        _resolvers.remove(resolver)
        _recalls.pop(resolver, None)


@sensitive_variables("text")
def ask_others(than: Resolver, text: str, request: HttpRequest | None) -> Access | None:
    """Return the answer of the first resolver in charge, except ``than``. Raise ``Refused``."""
    answers = (each(text, request) for each in _resolvers if each is not than)
    return next((access for access in answers if access is not None), None)


#: The variables of ``verify_unhidden``, and of the functions that it calls, that hold a secret.
SENSITIVE: Final = ("text", "parsed", *hashing.SENSITIVE)


@sensitive_variables(*SENSITIVE)
def verify(
    text: str,
    request: HttpRequest | None = None,
    *,
    counts_as_use: bool = True,
    exchange: bool = False,
    anywhere: bool = False,
) -> Access:
    """Verify a key, or a credential of a registered resolver, and return its ``Access``.

    Pass ``counts_as_use=False`` to look at a key without recording a use. Pass
    ``exchange=True`` when you verify a key in order to exchange it: keys with
    ``direct_use=False`` are then accepted. Pass ``anywhere=True`` if another server asks: the
    allowed IP ranges are then not checked, and no use is recorded. Raises ``Refused`` with the
    reason.
    """
    if counts_as_use and not (exchange or anywhere):
        return verify_unhidden(text, request)
    return verify_unhidden(text, request, Use(counts_as_use and not anywhere, exchange, anywhere))


def verify_unhidden(text: str, request: HttpRequest | None, use: Use = REQUEST) -> Access:
    """Verify like ``verify``. The caller hides the variables in ``SENSITIVE`` from error reports.

    Each ``sensitive_variables`` costs time at every request, and one hides all frames below it.
    """
    if router.routers and not is_reading_primary():
        with reading_primary():  # the policy and other packages too
            return verify_unhidden(text, request, use)
    try:
        if (parsed := _parse(text)) is not None:
            row = cache.find(_LOOKUPS[parsed.kind], parsed.public_id)
            return _check(parsed, row, request, use)
        for resolver in _resolvers:
            if (access := resolver(text, request)) is not None:
                return access
    except Refused:
        raise
    except Exception as error:
        if (refusal := unavailable.refusal(error)) is None:
            raise
    else:
        refusal = refusals.INVALID_TOKEN if _resolvers else refusals.MALFORMED_KEY
    raise Refused(refusal)


@sensitive_variables(*SENSITIVE)
async def averify(
    text: str, request: HttpRequest | None = None, *, counts_as_use: bool = True
) -> Access:
    """Verify like ``verify``, in async code. Queries run in a thread."""
    if (access := recall(text, request, counts_as_use=counts_as_use)) is not None:
        return access
    return await sync_to_async(verify)(text, request, counts_as_use=counts_as_use)


@sensitive_variables(*SENSITIVE)
def recall(
    text: str, request: HttpRequest | None = None, *, counts_as_use: bool = True
) -> Access | None:
    """Verify like ``verify``, from memory. Return ``None`` if that needs the database."""
    if (parsed := _parse(text)) is not None:
        row = cache.peek(_LOOKUPS[parsed.kind], parsed.public_id)
        if row is not None and row[2] == hashing.current_pepper_id():
            # A custom policy or user model may still make a query.
            with suppress(SynchronousOnlyOperation):
                return _check(parsed, row, request, REQUEST if counts_as_use else Use(False))
        return None
    for recalled in map(_recalls.get, _resolvers):
        answer: Any = recalled and recalled(text, request)
        if answer is not NOT_IN_CHARGE:
            return cast("Access | None", answer)
    return None


@sensitive_variables(*SENSITIVE)
def verify_parsed(parsed: token.Parsed, request: HttpRequest | None, *, is_right: bool) -> Access:
    """Verify a key whose secret arrived in another form. ``is_right`` says whether it matched."""
    lookup = _LOOKUPS[parsed.kind]
    row = cache.find(lookup, parsed.public_id)
    if row is not None and is_right:
        return _enter(parsed, Key(*row[: len(lookup.fields)]), row, request)
    return _check(parsed, row, request)


def recheck(key_id: str) -> Access:
    """Return the ``Access`` that the key with this ID has now, for work after its request.

    ``key_id`` is the ``credential_id`` of a verified ``Access``, which your code has stored. No
    secret is checked, so never pass the ID of a request. Allowed IP ranges are not checked
    either, and no use is recorded. Raises ``Refused`` if the key has ended or does not exist.
    """
    with reading_primary():
        for kind, lookup in _LOOKUPS.items() if token.is_id(key_id) else ():
            if (row := cache.find(lookup, key_id)) is not None:
                key = Key(*row[: len(lookup.fields)])
                check_state(key, Use(counts=False, exchange=True))  # it is not sent now
                (owner,) = lookup.build(row)
                return _BUILDERS[kind](key_id, key, owner)
    raise Refused(refusals.INVALID_KEY)


def _parse(text: str) -> token.Parsed | None:
    """Return the parts of a key, or ``None`` if ``text`` does not look like a key of this site."""
    prefix = app_settings.PREFIX
    if (parsed := token.parse(text, prefix)) is None and token.looks_like_key(text, prefix):
        raise Refused(refusals.MALFORMED_KEY)
    return parsed


def _check(
    parsed: token.Parsed, row: Row | None, request: HttpRequest | None, use: Use = REQUEST
) -> Access:
    if row is None:
        # Do the same work as for a wrong secret, so that timing does not reveal which IDs exist.
        hashing.check_unhidden(parsed.secret, _NO_DIGEST, hashing.current_pepper_id())
        raise Refused(refusals.INVALID_KEY)

    lookup = _LOOKUPS[parsed.kind]
    key = Key(*row[: len(lookup.fields)])
    matches = hashing.check_unhidden(parsed.secret, key.digest, key.pepper_id)
    if matches is None:
        matches = check_rest(lookup.model, key.pk, parsed, key.digest, key.pepper_id)
    elif matches and key.pepper_id != hashing.current_pepper_id():
        renew_digest(lookup.model, key.pk, key.pepper_id, parsed)
    if not matches:
        raise Refused(refusals.INVALID_KEY)
    return _enter(parsed, key, row, request, use)


def _enter(
    parsed: token.Parsed, key: Key, row: Row, request: HttpRequest | None, use: Use = REQUEST
) -> Access:
    """Build the ``Access`` of a key whose secret has been checked."""
    lookup, build = _LOOKUPS[parsed.kind], _BUILDERS[parsed.kind]
    try:
        check_state(key, use)
    except Refused as refused:
        if use.counts:
            usage.note_if_ended(lookup.model, key.pk, request, refused)
        raise
    (owner,) = lookup.build(row)
    if use.anywhere:
        return build(parsed.public_id, key, owner)
    ip = check_request(lookup.model, key.pk, key.restrictions, owner, request, use)
    access = build(parsed.public_id, key, owner)
    if use.counts:
        usage.note_use(lookup.model, key.pk, ip)
    return access


def check_state(key: Key, use: Use = REQUEST) -> None:
    """Raise ``Refused`` unless a key with a checked secret may be used now."""
    if key.revoked_at is not None:
        raise Refused(refusals.REVOKED_KEY)
    if key.expires_at is not None and key.expires_at <= timezone.now():
        raise Refused(refusals.EXPIRED_KEY)
    if key.is_pending:
        raise Refused(refusals.APPROVAL_REQUIRED)
    if key.paused_at is not None:
        raise Refused(refusals.PAUSED_KEY)
    if key.upstream and not upstreams.are_active(key.upstream):
        raise Refused(refusals.INACTIVE_USER)
    if key.restrictions is not EMPTY:
        now = Circumstances(timezone.now(), use.exchange)
        restrictions.check(Phase.VERIFY, key.restrictions, now)


def check_request(
    model: Any,
    pk: int,
    values: tuple[Any, ...],
    owner: Any,
    request: HttpRequest | None,
    use: Use = REQUEST,
) -> str | None:
    """Return the client address of ``request`` after checking the key's restrictions.

    ``values`` are the restrictions. Raises ``Refused``.
    """
    ip = networks.client_ip(request)
    imposed = app_settings.POLICY.allowed_networks(owner)  # one call less than get_policy()
    if not imposed and values is EMPTY:
        return ip
    try:
        if imposed and not networks.allowed_from((" ".join(imposed),), ip):
            raise Refused(refusals.IP_NOT_ALLOWED)
        if values is not EMPTY:
            request_now = Circumstances(timezone.now(), use.exchange, ip, request)
            restrictions.check(Phase.REQUEST, values, request_now)
    except Refused as refused:
        if use.counts and refused.refusal is refusals.IP_NOT_ALLOWED:
            usage.note_refusal(model, pk, ip)
        raise
    return ip


def _restricted(access: Access, key: Key) -> Access:
    restrictions.put(access, key.restrictions)
    return access


def _personal_access_token(public_id: str, key: Key, user: Any) -> Access:
    if not is_active(user):
        raise Refused(refusals.INACTIVE_USER)
    access = Access(
        kind=PERSONAL_ACCESS_TOKEN,
        credential_id=public_id,
        name=key.name,
        scope=key.scope,
        user=user,
        principal=user,
        expires_at=key.expires_at,
        upstream=key.upstream,
        stored_metadata=key.metadata,
        selected=None if key.all_projects else partial(_selected_projects, key.pk),
    )
    return access if key.restrictions is EMPTY else _restricted(access, key)


def project_key(public_id: str, key: Key, project: Any) -> Access:
    if not app_settings.PROJECT_KEYS:
        acceptance.check_project_keys()
    if not is_active(project):
        raise Refused(refusals.INACTIVE_PROJECT)
    if app_settings.PROJECT_USER is None:
        principal: Any = ProjectUser(project)
    else:
        principal = acceptance.principal_of(project)
    access = Access(
        kind=PROJECT_KEY,
        credential_id=public_id,
        name=key.name,
        scope=key.scope,
        project=project,
        principal=principal,
        expires_at=key.expires_at,
        upstream=key.upstream,
        stored_metadata=key.metadata,
    )
    return access if key.restrictions is EMPTY else _restricted(access, key)


_BUILDERS: dict[str, Build] = {token.PAT: _personal_access_token, token.KEY: project_key}


def _selected_projects(pk: int) -> QuerySet[Any, Any]:
    return PersonalAccessToken.objects.filter(pk=pk, projects__isnull=False).values("projects")
