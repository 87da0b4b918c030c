"""The hot path: the text of a credential -> who it is, or a named refusal.

A key costs one query, its user or project included, or none where the site has a cache;
malformed text costs none. Nothing is built from a row, and nothing is told of it, before
its secret was checked.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from . import cache, hashing, networks, refusals, token, usage
from .access import PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Access, ProjectUser
from .conf import app_settings
from .lookup import Lookup, Row, but
from .models import PersonalAccessToken, ProjectKey
from .pepper_loss import check_root, renew_digest
from .refusals import Refused

__all__ = ["Resolver", "averify", "register", "verify"]

logger = logging.getLogger("apikeys")

#: Answers for a text that is no key: an ``Access``, ``None`` for "not mine", or ``Refused`` raised.
Resolver = Callable[[str, HttpRequest | None], Access | None]

_resolvers: list[Resolver] = []
# What answers for some of them without a query; None: "not in memory".
_recalls: dict[Resolver, Resolver] = {}


class Key(NamedTuple):
    """What a row says of the key; what it says of the owner follows."""

    pk: int
    digest: str
    pepper_id: str
    name: str
    scope: str
    expires_at: datetime | None
    revoked_at: datetime | None
    is_pending: bool
    allowed_networks: str
    rate_limits: str
    direct_use: bool
    all_projects: bool = True


#: What is asked of a project's key.
FIELDS = Key._fields[:-1]

_LOOKUPS = {
    token.PAT: Lookup(PersonalAccessToken, "public_id", Key._fields, {"user": but("password")}),
    token.KEY: Lookup(ProjectKey, "public_id", FIELDS, {"project": but()}),
}
Build = Callable[[str, Key, Any], Access]
_NO_DIGEST = "0" * 64


def register(resolver: Resolver, recall: Resolver | None = None, *, first: bool = False) -> None:
    """Have ``resolver`` asked about credentials that do not look like this site's keys.

    ``recall`` answers as it would where all is in memory, and ``None`` where that is not so.
    """
    if resolver not in _resolvers:
        _resolvers.insert(0 if first else len(_resolvers), resolver)
        if recall is not None:
            _recalls[resolver] = recall


def unregister(resolver: Resolver) -> None:
    """Ask ``resolver`` no more."""
    if resolver in _resolvers:
        _resolvers.remove(resolver)
        _recalls.pop(resolver, None)


# What is below it is covered as well.
@sensitive_variables("text", "parsed")
def verify(
    text: str,
    request: HttpRequest | None = None,
    *,
    counts_as_use: bool = True,
    exchange: bool = False,
    anywhere: bool = False,
) -> Access:
    """Who presents ``text``: a key, or whatever credential a registered resolver knows.

    Whoever only looks at a key says ``counts_as_use=False``: when and from where it was
    last used stays as it is. ``exchange`` says that the key is presented for an access
    token, the one use of some; ``anywhere``, that somebody asks who got it of its holder,
    from an address that is not known: this is no use of it, and a key that is bound to
    networks passes. Raises ``Refused`` with the reason.
    """
    try:
        if (parsed := _parse(text)) is not None:
            lookup = _LOOKUPS[parsed.kind]
            row = cache.find(lookup, parsed.public_id)
            return _check(parsed, row, request, counts_as_use, exchange, anywhere)
        for resolver in _resolvers:
            if (access := resolver(text, request)) is not None:
                return access
    except (OperationalError, InterfaceError) as error:
        logger.error("A credential could not be checked, as the database is away: %s", error)
        refusal = refusals.TEMPORARILY_UNAVAILABLE
    else:
        refusal = refusals.INVALID_TOKEN if _resolvers else refusals.MALFORMED_KEY
    raise Refused(refusal)


@sensitive_variables("text", "parsed")
async def averify(
    text: str, request: HttpRequest | None = None, *, counts_as_use: bool = True
) -> Access:
    """As ``verify``, for async code: what needs the database is done in a thread."""
    if (access := recall(text, request, counts_as_use=counts_as_use)) is not None:
        return access
    return await sync_to_async(verify)(text, request, counts_as_use=counts_as_use)


@sensitive_variables("text", "parsed")
def recall(
    text: str, request: HttpRequest | None = None, *, counts_as_use: bool = True
) -> Access | None:
    """As ``verify`` where all is in memory; ``None`` where it needs the database."""
    if (parsed := _parse(text)) is not None:
        row = cache.peek(_LOOKUPS[parsed.kind], parsed.public_id)
        if row is not None and row[2] == hashing.current_pepper_id():
            # A policy or a user of the site's own may make a query after all.
            with suppress(SynchronousOnlyOperation):
                return _check(parsed, row, request, counts_as_use)
    # The first alone: none of the others has a say before it had its own.
    elif _resolvers and (first := _recalls.get(_resolvers[0])) is not None:
        return first(text, request)
    return None


@sensitive_variables("parsed")
def verify_parsed(parsed: token.Parsed, request: HttpRequest | None, *, is_right: bool) -> Access:
    """As ``verify``, for a secret that came otherwise; ``is_right`` says that it was checked."""
    lookup = _LOOKUPS[parsed.kind]
    row = cache.find(lookup, parsed.public_id)
    if row is not None and is_right:
        return _enter(parsed, Key(*row[: len(lookup.fields)]), row, request)
    return _check(parsed, row, request, counts_as_use=True)


def _parse(text: str) -> token.Parsed | None:
    """The parts of a key; ``None`` for what does not claim to be one of this site's."""
    if not token.looks_like_key(text, app_settings.PREFIX):
        return None
    parsed = token.parse(text, app_settings.PREFIX)
    if parsed is None:
        raise Refused(refusals.MALFORMED_KEY)
    return parsed


def _check(
    parsed: token.Parsed,
    row: Row | None,
    request: HttpRequest | None,
    counts_as_use: bool,
    exchange: bool = False,
    anywhere: bool = False,
) -> Access:
    if row is None:
        # The same work as for a wrong secret, so that time does not tell which ids exist.
        hashing.check_digest(parsed.secret, _NO_DIGEST, hashing.current_pepper_id())
        raise Refused(refusals.INVALID_KEY)

    lookup = _LOOKUPS[parsed.kind]
    key = Key(*row[: len(lookup.fields)])
    matches = hashing.check_digest(parsed.secret, key.digest, key.pepper_id)
    if matches is None:
        matches = check_root(lookup.model, key.pk, parsed)
    elif matches and key.pepper_id != hashing.current_pepper_id():
        renew_digest(lookup.model, key.pk, key.pepper_id, parsed)
    if not matches:
        raise Refused(refusals.INVALID_KEY)
    return _enter(parsed, key, row, request, counts_as_use, exchange, anywhere)


def _enter(
    parsed: token.Parsed,
    key: Key,
    row: Row,
    request: HttpRequest | None,
    counts_as_use: bool = True,
    exchange: bool = False,
    anywhere: bool = False,
) -> Access:
    """Who it is whose secret is right."""
    lookup, build = _LOOKUPS[parsed.kind], _BUILDERS[parsed.kind]
    check_state(key, exchange)
    (owner,) = lookup.build(row)
    if anywhere:
        return build(parsed.public_id, key, owner)
    access, ip = admit(lookup.model, build, parsed.public_id, key, owner, request, counts_as_use)
    if counts_as_use:
        usage.record(lookup.model, key.pk, ip)
    return access


def check_state(key: Key, exchange: bool = False) -> None:
    """Whether a key may be used now, whose holder has proved to hold it. Raises ``Refused``."""
    if key.revoked_at is not None:
        raise Refused(refusals.REVOKED_KEY)
    if key.expires_at is not None and key.expires_at <= timezone.now():
        raise Refused(refusals.EXPIRED_KEY)
    if key.is_pending:
        raise Refused(refusals.APPROVAL_REQUIRED)
    if not (key.direct_use or exchange):
        raise Refused(refusals.EXCHANGE_REQUIRED)


def admit(
    model: Any,
    build: Build,
    public_id: str,
    key: Key,
    owner: Any,
    request: HttpRequest | None,
    counts_as_use: bool,
) -> tuple[Access, str | None]:
    """Who it is, and the address that the request came from, if the key is good there.

    Raises ``Refused``.
    """
    ip = networks.client_ip(request)
    imposed = app_settings.POLICY.allowed_networks(owner)
    if not networks.admits((key.allowed_networks, " ".join(imposed)), ip):
        if counts_as_use:
            usage.record_refusal(model, key.pk, ip)
        raise Refused(refusals.IP_NOT_ALLOWED)
    return build(public_id, key, owner), ip


def _personal_access_token(public_id: str, key: Key, user: Any) -> Access:
    if not user.is_active:
        raise Refused(refusals.INACTIVE_USER)
    return Access(
        kind=PERSONAL_ACCESS_TOKEN,
        credential_id=public_id,
        name=key.name,
        scope=key.scope,
        user=user,
        principal=user,
        expires_at=key.expires_at,
        allowed_networks=key.allowed_networks,
        rate_limits=key.rate_limits,
        selected=None if key.all_projects else partial(_selected_projects, key.pk),
    )


def project_key(public_id: str, key: Key, project: Any) -> Access:
    # A project model of the site's own need not have the field.
    if not getattr(project, "is_active", True):
        raise Refused(refusals.INACTIVE_PROJECT)
    return Access(
        kind=PROJECT_KEY,
        credential_id=public_id,
        name=key.name,
        scope=key.scope,
        project=project,
        principal=ProjectUser(project),
        expires_at=key.expires_at,
        allowed_networks=key.allowed_networks,
        rate_limits=key.rate_limits,
    )


_BUILDERS: dict[str, Build] = {token.PAT: _personal_access_token, token.KEY: project_key}


def _selected_projects(pk: int) -> QuerySet[Any, Any]:
    return PersonalAccessToken.objects.filter(pk=pk, projects__isnull=False).values("projects")
