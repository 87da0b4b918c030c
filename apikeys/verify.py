"""The hot path: the text of a credential -> who it is, or a named refusal.

A key costs one query, its user or project included, or none where the site has a cache;
malformed text costs none. Nothing is built from a row, and nothing is told of it, before
its secret was checked.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from asgiref.sync import sync_to_async
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

_FIELDS = (
    "pk",
    "digest",
    "pepper_id",
    "name",
    "scope",
    "expires_at",
    "revoked_at",
    "is_pending",
    "allowed_networks",
    "rate_limits",
    "direct_use",
)
_LOOKUPS = {
    token.PAT: Lookup(
        PersonalAccessToken, "public_id", (*_FIELDS, "all_projects"), {"user": but("password")}
    ),
    token.KEY: Lookup(ProjectKey, "public_id", _FIELDS, {"project": but()}),
}
_NO_DIGEST = "0" * 64


def register(resolver: Resolver, *, first: bool = False) -> None:
    """Have ``resolver`` asked about credentials that do not look like this site's keys."""
    if resolver not in _resolvers:
        _resolvers.insert(0 if first else len(_resolvers), resolver)


@sensitive_variables("text")
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
            return _check(parsed, row, request, counts_as_use)
    return await sync_to_async(verify)(text, request, counts_as_use=counts_as_use)


@sensitive_variables("parsed")
def verify_parsed(parsed: token.Parsed, request: HttpRequest | None, *, is_right: bool) -> Access:
    """As ``verify``, for a secret that came otherwise; ``is_right`` says that it was checked."""
    row = cache.find(_LOOKUPS[parsed.kind], parsed.public_id)
    if row is not None and is_right:
        return _admit(parsed, row, request)
    return _check(parsed, row, request, counts_as_use=True)


def _parse(text: str) -> token.Parsed | None:
    """The parts of a key; ``None`` for what does not claim to be one of this site's."""
    if not token.looks_like_key(text, app_settings.PREFIX):
        return None
    parsed = token.parse(text, app_settings.PREFIX)
    if parsed is None:
        raise Refused(refusals.MALFORMED_KEY)
    return parsed


@sensitive_variables("parsed")
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
    pk, digest, pepper_id, *_ = row
    matches = hashing.check_digest(parsed.secret, digest, pepper_id)
    if matches is None:
        matches = check_root(lookup.model, pk, parsed)
    elif matches and pepper_id != hashing.current_pepper_id():
        renew_digest(lookup.model, pk, pepper_id, parsed)
    if not matches:
        raise Refused(refusals.INVALID_KEY)
    return _admit(parsed, row, request, counts_as_use, exchange)


def _admit(
    parsed: token.Parsed,
    row: Row,
    request: HttpRequest | None,
    counts_as_use: bool = True,
    exchange: bool = False,
) -> Access:
    """Who it is whose secret is right."""
    lookup = _LOOKUPS[parsed.kind]
    fields, (owner,) = lookup.build(row)
    if fields["revoked_at"] is not None:
        raise Refused(refusals.REVOKED_KEY)
    if fields["expires_at"] is not None and fields["expires_at"] <= timezone.now():
        raise Refused(refusals.EXPIRED_KEY)
    if fields["is_pending"]:
        raise Refused(refusals.APPROVAL_REQUIRED)
    if not (fields["direct_use"] or exchange):
        raise Refused(refusals.EXCHANGE_REQUIRED)
    ip = networks.client_ip(request)
    imposed = app_settings.POLICY.allowed_networks(owner)
    if not networks.admits((fields["allowed_networks"], " ".join(imposed)), ip):
        if counts_as_use:
            usage.record_refusal(lookup.model, fields["pk"], ip)
        raise Refused(refusals.IP_NOT_ALLOWED)
    build = _personal_access_token if parsed.kind == token.PAT else _project_key
    access = build(parsed.public_id, fields, owner)
    if counts_as_use:
        usage.record(lookup.model, fields["pk"], ip)
    return access


def _personal_access_token(public_id: str, fields: dict[str, Any], user: Any) -> Access:
    if not user.is_active:
        raise Refused(refusals.INACTIVE_USER)
    return Access(
        kind=PERSONAL_ACCESS_TOKEN,
        credential_id=public_id,
        name=fields["name"],
        scope=fields["scope"],
        user=user,
        principal=user,
        expires_at=fields["expires_at"],
        allowed_networks=fields["allowed_networks"],
        rate_limits=fields["rate_limits"],
        selected=None if fields["all_projects"] else partial(_selected_projects, fields["pk"]),
    )


def _project_key(public_id: str, fields: dict[str, Any], project: Any) -> Access:
    # A project model of the site's own need not have the field.
    if not getattr(project, "is_active", True):
        raise Refused(refusals.INACTIVE_PROJECT)
    return Access(
        kind=PROJECT_KEY,
        credential_id=public_id,
        name=fields["name"],
        scope=fields["scope"],
        project=project,
        principal=ProjectUser(project),
        expires_at=fields["expires_at"],
        allowed_networks=fields["allowed_networks"],
        rate_limits=fields["rate_limits"],
    )


def _selected_projects(pk: int) -> QuerySet[Any, Any]:
    return PersonalAccessToken.objects.filter(pk=pk, projects__isnull=False).values("projects")
