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

logger = logging.getLogger("apikeys")

Resolver = Callable[[str, HttpRequest | None], Access | None]

# Each answers for texts that are not keys: an Access, a Refused raised, or None: "not mine".
_resolvers: list[Resolver] = []


class _Key(NamedTuple):
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


_LOOKUPS = {
    token.PAT: Lookup(PersonalAccessToken, "public_id", _Key._fields, {"user": but("password")}),
    token.KEY: Lookup(ProjectKey, "public_id", _Key._fields[:-1], {"project": but()}),
}
_NO_DIGEST = "0" * 64


def register(resolver: Resolver) -> None:
    """Have ``resolver`` asked about credentials that do not look like this site's keys."""
    if resolver not in _resolvers:
        _resolvers.append(resolver)


# What is below it is covered as well.
@sensitive_variables("text", "parsed")
def verify(
    text: str,
    request: HttpRequest | None = None,
    *,
    counts_as_use: bool = True,
    exchange: bool = False,
) -> Access:
    """Who presents ``text``: a key, or whatever credential a registered resolver knows.

    Whoever only looks at a key says ``counts_as_use=False``: when and from where it was
    last used stays as it is. ``exchange`` says that the key is presented for an access
    token, the one use of some. Raises ``Refused`` with the reason.
    """
    try:
        if (parsed := _parse(text)) is not None:
            lookup = _LOOKUPS[parsed.kind]
            row = cache.find(lookup, parsed.public_id)
            return _check(parsed, row, request, counts_as_use, exchange)
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
    if (parsed := _parse(text)) is not None:
        row = cache.peek(_LOOKUPS[parsed.kind], parsed.public_id)
        if row is not None and row[2] == hashing.current_pepper_id():
            # A policy or a user of the site's own may make a query after all.
            with suppress(SynchronousOnlyOperation):
                return _check(parsed, row, request, counts_as_use)
    return await sync_to_async(verify)(text, request, counts_as_use=counts_as_use)


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
) -> Access:
    if row is None:
        # The same work as for a wrong secret, so that time does not tell which ids exist.
        hashing.check_digest(parsed.secret, _NO_DIGEST, hashing.current_pepper_id())
        raise Refused(refusals.INVALID_KEY)

    lookup = _LOOKUPS[parsed.kind]
    key = _Key(*row[: len(lookup.fields)])
    matches = hashing.check_digest(parsed.secret, key.digest, key.pepper_id)
    if matches is None:
        matches = check_root(lookup.model, key.pk, parsed)
    elif matches and key.pepper_id != hashing.current_pepper_id():
        renew_digest(lookup.model, key.pk, key.pepper_id, parsed)
    if not matches:
        raise Refused(refusals.INVALID_KEY)

    if key.revoked_at is not None:
        raise Refused(refusals.REVOKED_KEY)
    if key.expires_at is not None and key.expires_at <= timezone.now():
        raise Refused(refusals.EXPIRED_KEY)
    if key.is_pending:
        raise Refused(refusals.APPROVAL_REQUIRED)
    if not (key.direct_use or exchange):
        raise Refused(refusals.EXCHANGE_REQUIRED)
    (owner,) = lookup.build(row)
    ip = networks.client_ip(request)
    imposed = app_settings.POLICY.allowed_networks(owner)
    if not networks.admits((key.allowed_networks, " ".join(imposed)), ip):
        if counts_as_use:
            usage.record_refusal(lookup.model, key.pk, ip)
        raise Refused(refusals.IP_NOT_ALLOWED)
    build = _personal_access_token if parsed.kind == token.PAT else _project_key
    access = build(parsed.public_id, key, owner)
    if counts_as_use:
        usage.record(lookup.model, key.pk, ip)
    return access


def _personal_access_token(public_id: str, key: _Key, user: Any) -> Access:
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


def _project_key(public_id: str, key: _Key, project: Any) -> Access:
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


def _selected_projects(pk: int) -> QuerySet[Any, Any]:
    return PersonalAccessToken.objects.filter(pk=pk, projects__isnull=False).values("projects")
