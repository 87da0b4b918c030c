"""Count uses of the correct secret of a key after its end, and report the first of each end.

A denial of a token in a project is an end too: its uses in this project count, and no others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final

from django.db import connections, router

from .. import audit, refusals, token
from ..audit import About, Event
from ..conf import slug_of
from ..databases import clock
from ..models import AnyKey, AuditEvent, EndedUse, ProjectAccess, ProjectKey
from .findings import keys_of

_MOST: Final = 1000  # rows in one statement
_FEW: Final = 400  # denials in one statement, which names each twice

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: The column with the time of each end, by the code of the refusal.
ENDS: Final = {
    refusals.REVOKED_KEY.code: "revoked_at",
    refusals.EXPIRED_KEY.code: "expires_at",
    refusals.PAUSED_KEY.code: "paused_at",
}
_FIELDS: Final = (
    "kind", "public_id", "project_pk", "code", "first_used_at", "last_used_at", "first_ip",
    "last_ip", "count", "reported",
)  # fmt: skip

#: The primary key of a key, and that of a project as text; ``""`` for the end of the key itself.
Where = tuple[int, str]

_ProjectsOfDenials = Mapping[tuple[str, datetime | None], Any]


@dataclass(slots=True)
class Uses:
    """The uses of one key after its end, between two writes."""

    code: str
    first_at: datetime
    last_at: datetime
    first_ip: str | None
    last_ip: str | None
    count: int = 1
    #: When the token was denied in the project.
    denied_at: datetime | None = None

    def add(self, other: "Uses") -> None:
        """Add later uses."""
        self.code, self.last_at, self.last_ip = other.code, other.last_at, other.last_ip
        self.count += other.count
        self.denied_at = other.denied_at


def write(model: type[AnyKey], notes: Mapping[Where, Uses]) -> None:
    """Add the ``notes``, and write an event for the first use after each end.

    A key that was deleted, resumed or allowed meanwhile is left out.
    """
    if not notes:
        return
    keys = keys_of(model, {pk for pk, _project in notes})
    projects = _projects_of_denials(notes)
    found = [
        (keys[pk], uses, project)
        for (pk, project), uses in sorted(notes.items(), key=itemgetter(0))  # no deadlock
        if pk in keys and _counts(keys[pk], uses, project, projects)
    ]
    events = [
        (key, _event(key, uses, pk, projects.get((pk, uses.denied_at)))) for key, uses, pk in found
    ]
    onces, ids = [row.once for _key, row in events], [key.public_id for key, *_ in found]
    known: set[str | None] = set()
    for start in range(0, len(onces), _MOST):
        rows = AuditEvent.objects.filter(once__in=onces[start : start + _MOST])
        known.update(rows.values_list("once", flat=True))
        ended = _rows(model, ids[start : start + _MOST])  # their events may have been pruned
        known.update(ended.values_list("reported", flat=True))
    _add([(*each, once or "") for each, once in zip(found, onces, strict=True)])
    if new := [each for each in events if each[1].once not in known]:
        with audit.together():  # one mail for all keys of an owner
            written = {row.once for _key, row in audit.write_once(new)}
            for (key, row), (_key, uses, pk) in zip(events, found, strict=True):
                if pk and row.once in written:
                    _tell_project(key, row, projects[pk, uses.denied_at])


def _counts(key: Any, uses: Uses, project: str, projects: _ProjectsOfDenials) -> bool:
    """Return whether what refused these uses still holds."""
    if project:
        return (project, uses.denied_at) in projects
    return uses.code != refusals.PAUSED_KEY.code or key.paused_at is not None


def _projects_of_denials(notes: Mapping[Where, Uses]) -> dict[tuple[str, datetime | None], Any]:
    """Return the projects of the denials that still hold. One query, or none without denials."""
    found: dict[tuple[str, datetime | None], Any] = {}
    denials = sorted(
        {(project, uses.denied_at) for (_pk, project), uses in notes.items() if project}
    )
    for start in range(0, len(denials), _FEW):
        batch = denials[start : start + _FEW]
        named: dict[str, Any] = {
            "project__in": {project for project, _at in batch},
            "at__in": {at for _project, at in batch},
        }
        rows = ProjectAccess.objects.filter(is_denied=True, **named)
        for row in rows.select_related("project"):
            found[str(row.project_id), row.at] = row.project
    return found


def _tell_project(key: AnyKey, row: AuditEvent, project: Any) -> None:
    """Write the event to the log of the project too. The address is the owner's, so not there."""
    about = About(ProjectKey._meta.model_name or "", key.public_id, key.name, project)
    facts: dict[str, Any] = {"at": row.at, "changes": row.changes}
    audit.save(audit.compose_about(Event.USED_AFTER_END, about, **facts))


def _rows(model: type[AnyKey], ids: list[str]) -> Any:
    return EndedUse.objects.filter(kind=token.KIND_NAMES[model.KIND], public_id__in=ids)


def prune(kept_for: timedelta, now: datetime | None = None) -> int:
    """Delete uses that are older than ``kept_for``, and return how many keys they were of."""
    since = (now or clock.now(EndedUse)) - kept_for
    return EndedUse.objects.filter(last_used_at__lt=since).delete()[0]


def _event(key: Any, uses: Uses, project_pk: str, project: Any) -> AuditEvent:
    changes: dict[str, Any] = {"code": uses.code, "count": uses.count}
    ended = getattr(key, ENDS[uses.code]) if uses.code in ENDS else None
    if uses.denied_at is not None:
        changes["project"] = slug_of(project)
        at = (uses.denied_at - _EPOCH) // timedelta(microseconds=1)
        once = f"denied:{key.pk}:{project_pk}:{at}"
    else:
        once = f"ended:{key.KIND}:{key.pk}:{uses.code}"
    if ended is not None:
        once += f":{ended.isoformat()}"
    facts: dict[str, Any] = {"at": uses.first_at, "ip": uses.first_ip, "changes": changes}
    return audit.compose(Event.USED_AFTER_END, key, **facts, once=once)


def _add(found: list[tuple[Any, Uses, str, str]]) -> None:
    """Add to the counts, and create missing rows. Takes one statement per batch."""
    connection = connections[router.db_for_write(EndedUse)]
    name = connection.ops.quote_name
    fields: list[Any] = [EndedUse._meta.get_field(field) for field in _FIELDS]
    size = min(_MOST, (connection.features.max_query_params or _MOST * 8) // len(fields))
    table, columns = name(EndedUse._meta.db_table), ", ".join(map(name, _FIELDS))
    end = " ".join(_on_conflict(connection))
    with connection.cursor() as cursor:
        for first in range(0, len(found), size):
            batch = found[first : first + size]
            values = [
                field.get_db_prep_save(value, connection)
                for each in batch
                for field, value in zip(fields, _values(*each), strict=True)
            ]
            rows = ", ".join([f"({', '.join(['%s'] * len(fields))})"] * len(batch))
            statement = f"INSERT INTO {table} ({columns}) VALUES {rows} {end}"  # noqa: S608
            cursor.execute(statement, values)


def _values(key: AnyKey, uses: Uses, project: str, once: str) -> tuple[Any, ...]:
    kind = token.KIND_NAMES[key.KIND]
    times, places = (uses.first_at, uses.last_at), (uses.first_ip, uses.last_ip)
    return (kind, key.public_id, project, uses.code, *times, *places, uses.count, once)


def _on_conflict(connection: Any) -> Iterator[str]:
    """Yield the end of the statement. MariaDB sets columns in this order, so times come last."""
    name = connection.ops.quote_name
    table = name(EndedUse._meta.db_table)
    if connection.vendor == "mysql":
        yield "ON DUPLICATE KEY UPDATE"
        new = "VALUES({})"
    else:
        yield f"ON CONFLICT ({', '.join(map(name, _FIELDS[:3]))}) DO UPDATE SET"
        new = "EXCLUDED.{}"

    def chosen(column: str, time: str, sign: str) -> str:
        """Take the new value if the new time is earlier (``<``) or later (``>``)."""
        old, new_time, old_time = (
            f"{table}.{name(column)}",
            new.format(name(time)),
            f"{table}.{name(time)}",
        )
        value = new.format(name(column))
        return (
            f"{name(column)} = CASE WHEN {new_time} {sign} {old_time} THEN {value} ELSE {old} END"
        )

    count = name("count")
    yield ", ".join(
        (
            f"{count} = {table}.{count} + {new.format(count)}",
            f"{name('reported')} = {new.format(name('reported'))}",
            chosen("code", "last_used_at", ">"),
            chosen("last_ip", "last_used_at", ">"),
            chosen("first_ip", "first_used_at", "<"),
            chosen("last_used_at", "last_used_at", ">"),
            chosen("first_used_at", "first_used_at", "<"),
        )
    )
