"""Count the credentials of the whole site, and find the keys to look at.

Each kind of key takes four queries. Two of them read the whole table.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from heapq import nlargest
from typing import Any, Final

from django.db.models import (
    BooleanField,
    Case,
    Count,
    F,
    IntegerField,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Length, Replace
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import moments, spreadsheets
from ..conf import app_settings, slug_of
from ..databases.lists import for_list
from ..databases.primary import reading_primary
from ..models import KEY_MODELS, AnyKey, ProjectKey, State
from ..models.reach import ProjectAccess
from .facts import KINDS

#: How many of the widest keys and of the newest denials are named.
MOST: Final = 20
SOON: Final = timedelta(days=30)
IDLE: Final = timedelta(days=90)

#: The facts of each kind of key, with their labels.
LABELS: Final[dict[str, Any]] = {
    "total": _("total"),
    **{state.value: state.label for state in State},
    "expiring": _("active, expires within 30 days"),
    "never_used": _("active, never used"),
    "idle": _("active, not used in 90 days"),
    "lasting": _("active, without expiry"),
}

#: Functions of optional apps that return numbers by fact, by the name of their part.
_parts: dict[str, Callable[[], dict[str, int]]] = {}


def register(name: str, labels: dict[str, Any], count: Callable[[], dict[str, int]]) -> None:
    """Add a part ``name`` to the inventory.

    ``labels`` name its facts, and ``count`` returns their numbers.
    """
    _parts[name] = count
    LABELS.update(labels)


@reading_primary()
def report() -> dict[str, Any]:
    """Return the inventory, ready for JSON: ``at``, ``keys``, ``widest``, ``denials``, ``others``.

    ``keys`` has the numbers by kind, and ``others`` the numbers of optional apps. Takes four
    queries for each kind of key, two for the denials, and the queries of the optional apps.
    """
    now = timezone.now()
    models = [
        model
        for model in KEY_MODELS.values()
        if model is not ProjectKey or app_settings.PROJECT_KEYS
    ]
    denials = for_list(ProjectAccess.objects.filter(is_denied=True))
    newest = denials.select_related("project", "by").order_by("-pk")[:MOST]
    return {
        "at": moments.iso(now),
        "keys": {kind: _counts(model, now) for kind, model in KINDS.items() if model in models},
        "widest": _widest(models, now),
        "denials": {"total": denials.count(), "newest": [_denial(each) for each in newest]},
        "others": {name: count() for name, count in _parts.items()},
    }


class _Number(Subquery):
    """The number of rows of a query, in the same statement as others."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet[Any]) -> None:
        super().__init__(rows.order_by().values("pk"))


def _counts(model: type[AnyKey], now: datetime) -> dict[str, int]:
    """Count the keys of one kind. Two queries.

    The first counts ranges of indexes, which takes milliseconds. The second reads all active
    keys: no index covers their last use, because each use would write to it.
    """
    rows: QuerySet[Any] = for_list(model._default_manager.order_by())
    # SQLite uses no index for IS NOT NULL and for a bare boolean.
    ready, awaits = Q(revoked_at=None, is_pending__in=[False]), Q(
        revoked_at=None, is_pending__in=[True]
    )  # fmt: skip
    later, soon = Q(expires_at__gt=now), Q(expires_at__gt=now, expires_at__lte=now + SOON)
    # Few keys are paused, so they are counted on their own and subtracted.
    paused = Q(paused_at__gt=moments.long_ago())
    held = rows.filter(paused, revoked_at=None, is_pending=False)
    pieces = {
        "total": rows,
        "revoked": rows.filter(revoked_at__gt=moments.long_ago()),
        "expired": rows.filter(ready, expires_at__lte=now),
        "expired_pending": rows.filter(awaits, expires_at__lte=now),
        "pending": rows.filter(awaits, expires_at=None),
        "pending_until": rows.filter(awaits, later),
        "lasting": rows.filter(ready, expires_at=None),
        "expiring": rows.filter(ready, soon),
        "paused_lasting": held.filter(expires_at=None),
        "paused_until": held.filter(later),
        "paused_expiring": held.filter(soon),
    }
    numbers = {f"number_of_{name}": _Number(each) for name, each in pieces.items()}
    found = rows.annotate(**numbers).values(*numbers).first() or dict.fromkeys(numbers, 0)
    number = {name.removeprefix("number_of_"): each for name, each in found.items()}
    expired = number["expired"] + number["expired_pending"]
    pending = number["pending"] + number["pending_until"]
    is_paused = number["paused_lasting"] + number["paused_until"]
    since = now - IDLE
    idle = Q(last_used_at__lt=since) | Q(last_used_at=None, created_at__lt=since)
    active = rows.aggregate(
        never_used=Count("pk", filter=_active(now) & Q(last_used_at=None)),
        idle=Count("pk", filter=_active(now) & idle),
    )
    return {
        "total": number["total"],
        State.LIVE.value: number["total"] - number["revoked"] - expired - pending - is_paused,
        State.PENDING.value: pending,
        State.PAUSED.value: is_paused,
        State.EXPIRED.value: expired,
        State.REVOKED.value: number["revoked"],
        "expiring": number["expiring"] - number["paused_expiring"],
        **active,
        "lasting": number["lasting"] - number["paused_lasting"],
    }


def _active(now: datetime) -> Q:
    """Match active keys. As a condition of the whole query, it would look up most rows by index."""
    unexpired = Q(expires_at=None) | Q(expires_at__gt=now)
    return Q(revoked_at=None, is_pending=False, paused_at=None) & unexpired


def _widest(models: list[Any], now: datetime) -> list[dict[str, Any]]:
    """Return the active keys with the most scopes; of equals, those with all projects first."""
    found = [
        (number, bool(reaches_all), model, pk)
        for model in models
        for pk, number, reaches_all in _by_width(model, now)
        if number
    ]
    widest = nlargest(MOST, found, key=lambda each: each[:2])
    keys = {
        model: for_list(model._default_manager.select_related(model.OWNER)).in_bulk(
            [pk for *_width, of, pk in widest if of is model]
        )
        for model in models
    }
    names = {model: kind for kind, model in KINDS.items()}
    return [
        {
            "id": key.public_id,
            "kind": names[model],
            "name": key.name,
            "owner": _owner(key),
            "scopes": number,
            "all_projects": reaches_all,
            "last_used_at": key.last_used_at and moments.iso(key.last_used_at),
        }
        for number, reaches_all, model, pk in widest
        if (key := keys[model].get(pk)) is not None
    ]


def _by_width(model: Any, now: datetime) -> QuerySet[Any]:
    scopes = Length("scope") - Length(Replace("scope", Value(" "), Value(""))) + 1
    reach = F("all_projects") if model.SELECTS_PROJECTS else Value(False, BooleanField())
    number = Case(When(_active(now) & ~Q(scope=""), then=scopes), default=0)
    rows: QuerySet[Any] = for_list(model._default_manager.annotate(number=number, reach=reach))
    return rows.order_by("-number", "-reach", "pk").values_list("pk", "number", "reach")[:MOST]


def _owner(key: AnyKey) -> str:
    owner: Any = key.owner
    name: str = owner.get_username() if hasattr(owner, "get_username") else slug_of(owner)
    return name


def _denial(row: ProjectAccess) -> dict[str, Any]:
    return {
        "project": slug_of(row.project),
        "kind": row.kind,
        "id": row.credential,
        "reason": row.reason,
        "by": row.by.get_username() if row.by is not None else None,
        "at": moments.iso(row.at),
    }


#: The columns of the CSV.
COLUMNS: Final = (
    "list", "kind", "number", "id", "name", "owner", "all_projects", "last_used_at", "project",
    "reason", "by", "at",
)  # fmt: skip


def as_rows(inventory: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the ``inventory`` as rows with ``COLUMNS``: one for each number, key and denial."""
    for kind, numbers in (*inventory["keys"].items(), *inventory["others"].items()):
        for name, number in numbers.items():
            yield {"list": name, "kind": kind, "number": number}
    yield {"list": "denials", "number": inventory["denials"]["total"]}
    for key in inventory["widest"]:
        yield {"list": "widest", **key, "number": key["scopes"]}
    for denial in inventory["denials"]["newest"]:
        yield {"list": "denied", **denial}


def as_csv(inventory: dict[str, Any]) -> Iterator[str]:
    """Yield a header and ``as_rows`` as CSV. Escape cells that look like formulas."""
    return spreadsheets.lines(COLUMNS, as_rows(inventory))
