"""Read the uses of a key after its end, which ``apikeys.usage`` counts."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from .. import moments, refusals, token
from ..conf import slug_of
from ..databases.primary import reading_primary
from ..models import AnyKey, EndedUse, PersonalAccessToken
from ..policy import get_policy


class Used(NamedTuple):
    """The uses of a key after its end, or of a token in a project that denied it."""

    key: AnyKey
    use: EndedUse
    #: The project in which the token is denied; ``None`` for the end of the key itself.
    project: Any = None


@reading_primary()
def ended_uses(keys: Iterable[AnyKey]) -> list[Used]:
    """Return the uses of the ``keys`` after their end, in the order of the keys. One query.

    All keys are of one kind and owner. Uses during a pause count only until the key is resumed.
    For uses in projects, which take one more query, leave out projects that the user cannot see.
    """
    by_id = {key.public_id: key for key in keys}
    kinds = {token.KIND_NAMES[key.KIND] for key in by_id.values()}
    rows = list(_rows(kinds, list(by_id)).order_by("pk"))
    order = {public_id: number for number, public_id in enumerate(by_id)}
    rows.sort(key=lambda row: order[row.public_id])
    projects = _projects({row.project_pk for row in rows} - {""}, next(iter(by_id.values()), None))
    found = []
    for row in rows:
        key = by_id[row.public_id]
        if row.project_pk in projects:
            found.append(Used(key, row, projects[row.project_pk]))
        elif not row.project_pk and (key.paused_at or row.code != _PAUSED):
            found.append(Used(key, row))
    return found


def record(key: AnyKey) -> dict[str, Any]:
    """Return the facts ``used_after_end`` and ``used_after_denial`` of ``key``.

    The first has ``first``, ``last``, ``count`` and the latest ``ip``, or is ``None``. The second
    is a list with the same for each ``project`` that denied the token.
    """
    facts: dict[str, Any] = {"used_after_end": None, "used_after_denial": []}
    for _key, row, project in ended_uses([key]):
        first, last = moments.iso(row.first_used_at), moments.iso(row.last_used_at)
        uses = {"first": first, "last": last, "count": row.count, "ip": row.last_ip}
        if project is None:
            facts["used_after_end"] = uses
        else:
            facts["used_after_denial"].append({"project": slug_of(project)} | uses)
    return facts


def in_project(project: Any, ids: Iterable[str] | None = None) -> dict[str, EndedUse]:
    """Return the uses of denied tokens in ``project`` by the ID of the token. One query."""
    rows = EndedUse.objects.filter(project_pk=str(project.pk))
    if ids is not None:
        rows = rows.filter(kind=_TOKEN, public_id__in=list(ids))
    return {row.public_id: row for row in rows}


def forget_pause(key: AnyKey) -> None:
    """Forget the uses of ``key`` during its pause."""
    _rows({token.KIND_NAMES[key.KIND]}, [key.public_id]).filter(code=_PAUSED).delete()


def forget_denial(project: Any, ids: Iterable[str]) -> None:
    """Forget the uses in ``project`` of tokens that are allowed there again."""
    _rows({_TOKEN}, list(ids)).filter(project_pk=str(project.pk)).delete()


_PAUSED = refusals.PAUSED_KEY.code
_TOKEN = token.KIND_NAMES[token.PAT]


def _rows(kinds: Iterable[str], ids: list[str]) -> Any:
    return EndedUse.objects.filter(kind__in=kinds, public_id__in=ids)


def _projects(pks: set[str], key: AnyKey | None) -> dict[str, Any]:
    if not pks or not isinstance(key, PersonalAccessToken):
        return {}
    rows = get_policy().projects(key.user).filter(pk__in=pks)
    return {str(project.pk): project for project in rows}
