"""Search, filter and sort the credentials that reach a project."""

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from .. import token
from ..conf import slug_field, slug_of
from ..databases.primary import reading_primary
from ..decisions import PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Mark, granted
from ..models import AnyKey, PersonalAccessToken, ProjectAccess, ProjectRules, State
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
        return standings([key], key.user)[key.public_id].denials
    rows = ProjectAccess.objects.filter(kind=PROJECT_KEY, credential=key.public_id, is_denied=True)
    return list(rows.select_related("project", "by").order_by("pk"))


class Standing(NamedTuple):
    """The projects of its user that a personal access token does not reach."""

    #: Its denials. They include denials of the applications that created it.
    denials: list[ProjectAccess]
    #: The projects that it reaches only once someone approves it there.
    awaits: list[Any]


def noting_rules(keys: QuerySet[Any], user: Any) -> QuerySet[Any]:
    """Return the user's tokens, noting whether a project of the user requires approval.

    So ``standings`` needs no query to find that none does.
    """
    rules = ProjectRules.objects.filter(project__in=get_policy().projects(user))
    noted: QuerySet[Any] = keys.annotate(may_await=Exists(rules.filter(approves_tokens=True)))
    return noted


@reading_primary()
def standings(keys: Collection[PersonalAccessToken], user: Any) -> dict[str, Standing]:
    """Return the standing of each of the user's tokens, by its ID.

    Projects that the user has lost, or that a token does not select, are left out. One query for
    all tokens. Two if one is denied, or if a project of the user requires approval.
    """
    found = {key.public_id: Standing([], []) for key in keys}
    named: dict[tuple[str, str], list[str]] = {}
    for key in keys:
        for mark in (Mark(key.public_id, PERSONAL_ACCESS_TOKEN), *granted(key.upstream, user)):
            named.setdefault((mark.kind, mark.id), []).append(key.public_id)
    credentials = [credential for _kind, credential in named]
    may_await = any(vars(key).get("may_await", True) for key in keys)
    decided = ProjectAccess.objects.filter(credential__in=credentials)
    if not may_await:
        decided = decided.filter(is_denied=True)
    rows = list(decided.select_related("project", "by").order_by("pk"))
    if not rows and not may_await:
        return found
    projects = _deciding(user, {row.project_id for row in rows if row.is_denied})
    settled = set()
    for row in rows:
        for public_id in named.get((row.kind, row.credential), ()):
            if row.is_denied and row.project_id in projects:
                found[public_id].denials.append(row)
            if row.is_denied or row.kind == PERSONAL_ACCESS_TOKEN:
                settled.add((public_id, row.project_id))
    approving = [project for project in projects.values() if project.approves_tokens]
    for key in keys:
        awaits = [each for each in approving if (key.public_id, each.pk) not in settled]
        found[key.public_id].awaits.extend(awaits)
        _keep_reached(key, found[key.public_id])
    return found


def awaited(key: AnyKey) -> list[Any]:
    """Return the projects that a token reaches only once someone approves it there."""
    if not isinstance(key, PersonalAccessToken) or key.state() in (State.EXPIRED, State.REVOKED):
        return []
    return standings([key], key.user)[key.public_id].awaits


def awaits_approval_in(key: AnyKey) -> list[str]:
    """Return the slugs of the projects in ``awaited``."""
    return [slug_of(project) for project in awaited(key)]


def _deciding(user: Any, denied: set[Any]) -> dict[Any, Any]:
    """Return the projects of ``user`` that are ``denied`` or require approval."""
    rules = ProjectRules.objects.filter(project=OuterRef("pk"), approves_tokens=True)
    projects = get_policy().projects(user).annotate(approves_tokens=Exists(rules))
    found = projects.filter(Q(pk__in=denied) | Q(approves_tokens=True)).order_by(slug_field())
    return {project.pk: project for project in found}


def _keep_reached(key: PersonalAccessToken, standing: Standing) -> None:
    if not any(standing) or (reached := key.reach()) is None:
        return
    pks = {project.pk for project in reached}
    standing.denials[:] = [each for each in standing.denials if each.project_id in pks]
    standing.awaits[:] = [each for each in standing.awaits if each.pk in pks]


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
