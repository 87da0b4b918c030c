"""Search, filter and sort the credentials that reach a project."""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.utils import timezone

from .. import token
from ..databases.primary import reading_primary
from ..decisions import PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Mark, granted
from ..models import AnyKey, PersonalAccessToken, ProjectAccess
from ..policy import get_policy
from . import sources
from .entries import Entry

#: The values of the filter ``denied``.
ANSWERS: Final = ("yes", "no", "awaiting", "allowed")

_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


def find(project: Any, credential: str) -> Entry | None:
    """Return the credential with this ID that reaches ``project``; ``None`` for any other."""
    if not token.is_id(credential):
        return None
    return next(iter(sources.entries(project, credential)), None)


@reading_primary()
def denials_of(key: AnyKey) -> list[ProjectAccess]:
    """Return the denials of ``key``, in the projects that its user still has. One query."""
    if isinstance(key, PersonalAccessToken):
        return denials_of_tokens([key], key.user)[key.public_id]
    rows = ProjectAccess.objects.filter(kind=PROJECT_KEY, credential=key.public_id, is_denied=True)
    return list(rows.select_related("project", "by").order_by("pk"))


@reading_primary()
def denials_of_tokens(
    keys: Iterable[PersonalAccessToken], user: Any
) -> dict[str, list[ProjectAccess]]:
    """Return the denials of each of the user's tokens, by its ID. One query, two if there are any.

    They include denials of the applications that created the tokens. Projects that the user has
    lost are left out.
    """
    found: dict[str, list[ProjectAccess]] = {key.public_id: [] for key in keys}
    named: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        for mark in (Mark(key.public_id, PERSONAL_ACCESS_TOKEN), *granted(key.upstream, user)):
            named.setdefault((mark.kind, mark.id), []).append(key.public_id)
    credentials = [credential for _kind, credential in named]
    denials = ProjectAccess.objects.filter(credential__in=credentials, is_denied=True)
    rows = list(denials.select_related("project", "by").order_by("pk"))
    if not rows:
        return found
    projects = get_policy().projects(user)
    kept = set(
        projects.filter(pk__in={row.project_id for row in rows}).values_list("pk", flat=True)
    )
    for row in rows:
        if row.project_id in kept:
            for public_id in named.get((row.kind, row.credential), ()):
                found[public_id].append(row)
    return found


def listed(
    project: Any,
    *,
    members: Any = None,
    q: str = "",
    kind: str = "",
    state: str = "",
    denied: str = "",
    used: str = "",
    sort: str = "",
) -> list[Entry]:
    """Return the matching credentials that reach ``project``, sorted.

    ``members`` are some of the project's members; ``None`` for all, and for its keys too.
    ``q`` is a part of a name, an ID, a username or a client ID. ``denied`` is ``yes``, ``no``,
    ``awaiting`` or ``allowed``. ``used`` is ``never``, a number of days, or ``not-`` and a number
    of days. ``sort`` is one of ``ORDERS``: without it, tokens pending approval come first.
    """
    found = sources.entries(project, members=members)
    days = used.removeprefix("not-")
    since = timezone.now() - timedelta(days=int(days)) if days.isdigit() else _NEVER
    newer = sources.created_since(project, since, members) if used.startswith("not-") else set()
    if used or sort in _BY_USE:
        sources.find_uses(project, found)
    term = q.strip().casefold()
    return ordered(
        (
            each
            for each in found
            if (not kind or each.kind == kind)
            and (not state or each.state == state)
            and (not denied or _answers(each, denied))
            and (not used or _is_used(each, used, since, newer))
            and (not term or _contains(each, term))
        ),
        sort,
    )


def _answers(entry: Entry, denied: str) -> bool:
    if denied == "awaiting":
        return entry.awaits
    if denied == "allowed":
        return entry.decision is not None and not entry.is_denied
    return entry.is_denied == (denied == "yes")


def _is_used(entry: Entry, used: str, since: datetime, newer: Collection[str]) -> bool:
    if used == "never":
        return entry.used_at is None
    is_used = entry.used_at is not None and entry.used_at >= since
    if not used.startswith("not-"):
        return is_used
    is_newer = entry.id in newer or (entry.authorized_at or since) > since
    return not is_used and not is_newer  # a newer credential was not unused for that long


def _contains(entry: Entry, term: str) -> bool:
    texts = (entry.name, entry.user, entry.client)
    is_id = entry.id.startswith(token.without_prefix(term))
    return is_id or any(term in text.casefold() for text in texts if text)


def _by_name(entry: Entry) -> Any:
    return entry.name.casefold(), entry.id


#: The orders of the list.
ORDERS: Final[dict[str, Callable[[Entry], Any]]] = {
    "": lambda each: (not each.awaits, *_by_name(each)),
    "name": _by_name,
    "user": lambda each: (each.user is None, each.user or "", *_by_name(each)),
    "expires": lambda each: (each.expires_at or _NEVER, *_by_name(each)),
    "idle": lambda each: (each.used_at or _LONG_AGO, *_by_name(each)),
    "used": lambda each: (_NEVER - (each.used_at or _LONG_AGO), *_by_name(each)),
}


_BY_USE: Final = ("used", "idle")


def ordered(found: Iterable[Entry], sort: str = "") -> list[Entry]:
    """Return the entries in one of ``ORDERS``."""
    return sorted(found, key=ORDERS[sort])
