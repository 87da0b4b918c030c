"""Deny tokens of an issuer: all tokens of a subject, of a session, or one token.

A denial takes effect at the next request of every worker, like every revocation.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from django.db import IntegrityError, router
from django.db.models import Q
from django.utils import timezone

from .. import refusals
from ..databases import transactions
from ..lifecycle import descendants
from ..refusals import Refused
from .models import ALWAYS, Denial, denial_digest

What = Denial.What
_UPSTREAM: Final = "identity:"
_KEPT: Final = timedelta(days=366)
_BATCH: Final = 1_000
#: The ``until`` of a session that was logged out. ``ALWAYS`` is of one that somebody denied.
LOGGED_OUT: Final = ALWAYS - 1


def digests_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the primary keys of all denials that would refuse a token with these claims."""
    issuer, subject = claims["iss"], claims["sub"]
    found = [denial_digest(What.SUBJECT, issuer, subject)]
    session, token = claims.get("sid"), claims.get("jti")
    # A token that names no session ends with every session of its subject.
    found.append(
        denial_digest(What.SESSION, issuer, session)
        if isinstance(session, str)
        else denial_digest(What.NO_SESSION, issuer, subject)
    )
    if isinstance(token, str):
        found.append(denial_digest(What.TOKEN, issuer, token))
    return tuple(found)


def issued_at(claims: Mapping[str, Any]) -> int:
    """Return when a token was issued. A token that does not say it is as old as can be."""
    return int(claims.get("iat", 0))


def upstream_of(claims: Mapping[str, Any]) -> str:
    """Return what a key stores that was created with a token; see ``are_allowed``."""
    return _UPSTREAM + denial_digest(What.SUBJECT, claims["iss"], claims["sub"])


def are_allowed(upstream: str) -> bool:
    """Return whether all subjects whose tokens created a credential are allowed.

    A logout denies tokens until its time, so it leaves the credentials of a subject alone.
    """
    names = [name for name in upstream.split() if name.startswith(_UPSTREAM)]
    if not names:
        return True
    rows = Denial.objects.using(router.db_for_write(Denial))
    pks = [name.removeprefix(_UPSTREAM) for name in names]
    return not rows.filter(pk__in=pks, until=ALWAYS).exists()


def is_denied(claims: Mapping[str, Any]) -> bool:
    """Return whether a token with these verified claims is denied. Takes one query."""
    rows = Denial.objects.using(router.db_for_write(Denial))
    return rows.filter(pk__in=digests_of(claims), until__gte=issued_at(claims)).exists()


def check(claims: Mapping[str, Any]) -> None:
    """Raise ``Refused`` if a token with these verified claims is denied."""
    if is_denied(claims):
        raise Refused(refusals.REVOKED_TOKEN)


def deny(
    what: str, issuer: str, value: str, *, until: int = ALWAYS, reason: str = ""
) -> tuple[Denial, bool]:
    """Deny tokens that were issued ``until`` then. Return the row, and whether it is new.

    A denial is only extended: an earlier ``until`` changes nothing.
    """
    try:
        return _deny(what, issuer, value, until, reason)
    except IntegrityError:  # another request has just created the row
        return _deny(what, issuer, value, until, reason)


def _deny(what: str, issuer: str, value: str, until: int, reason: str) -> tuple[Denial, bool]:
    pk = denial_digest(what, issuer, value)
    with transactions.atomic(Denial):
        rows = Denial.objects.using(router.db_for_write(Denial)).select_for_update()
        row = rows.filter(pk=pk).first()
        is_new = row is None
        if row is None:
            row = Denial(pk=pk, what=what, issuer=issuer[:500], value=_shown(value), until=until)
            row.reason = reason
            row.save(force_insert=True)
        elif row.until < until:
            row.until, row.reason = until, reason or row.reason
            row.save()
        if what == What.TOKEN:
            # Keys that were created with the token end with it.
            descendants.end_made_with(
                access_tokens=[credential_id(issuer, value)], reason="Created with a denied token."
            )
    return row, is_new


def prune(unused: timedelta) -> int:
    """Delete what logouts denied more than a year ago. Return how many rows.

    Tokens that they refuse have expired by then; see ``bearer.LONGEST``. What somebody denied
    stays.
    """
    before = timezone.now() - max(unused, _KEPT)
    every = Denial.objects.using(router.db_for_write(Denial))
    is_over = Q(until=LOGGED_OUT) | Q(until__lt=int(before.timestamp()))
    rows = every.filter(is_over, created_at__lt=before)
    deleted = 0
    while pks := list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        with transactions.atomic(Denial):
            # Ask again: a logout may extend one right now.
            found = list(rows.filter(pk__in=pks).order_by("pk").select_for_update())
            every.filter(pk__in=[row.pk for row in found]).delete()
        deleted += len(found)
        if not found:
            break
    return deleted


def _shown(value: str) -> str:
    """Return text that every database stores."""
    return "".join(c if " " <= c <= "~" else "?" for c in value)[:255]


def allow(what: str, issuer: str, value: str) -> bool:
    """Remove a denial. Return whether there was one."""
    row = Denial.objects.filter(pk=denial_digest(what, issuer, value)).first()
    if row is None:
        return False
    row.delete()
    return True


def credential_id(issuer: str, token_id: str) -> str:
    """Return the ``credential_id`` of a token, by its ``jti``."""
    return denial_digest(What.TOKEN, issuer, token_id)[:32]
