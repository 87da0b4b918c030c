"""Read the uses of a key after its end, which ``apikeys.usage`` counts."""

from collections.abc import Iterable
from typing import Any

from .. import moments, refusals, token
from ..databases.primary import reading_primary
from ..models import AnyKey, EndedUse


@reading_primary()
def ended_uses(keys: Iterable[AnyKey]) -> list[tuple[AnyKey, EndedUse]]:
    """Return the ``keys`` whose secret was used after their end, with the uses. One query.

    All keys are of one kind. Uses during a pause count only until the key is resumed.
    """
    by_id = {key.public_id: key for key in keys}
    kinds = {token.KIND_NAMES[key.KIND] for key in by_id.values()}
    rows = {row.public_id: row for row in _rows(kinds, list(by_id))}
    found = [(key, rows[public_id]) for public_id, key in by_id.items() if public_id in rows]
    return [(key, row) for key, row in found if key.paused_at or row.code != _PAUSED]


def record(key: AnyKey) -> dict[str, Any] | None:
    """Return ``first``, ``last``, ``count`` and the latest ``ip``, or ``None``. One query."""
    for _key, row in ended_uses([key]):
        first, last = moments.iso(row.first_used_at), moments.iso(row.last_used_at)
        return {"first": first, "last": last, "count": row.count, "ip": row.last_ip}
    return None


def forget_pause(key: AnyKey) -> None:
    """Forget the uses of ``key`` during its pause."""
    _rows({token.KIND_NAMES[key.KIND]}, [key.public_id]).filter(code=_PAUSED).delete()


_PAUSED = refusals.PAUSED_KEY.code


def _rows(kinds: Iterable[str], ids: list[str]) -> Any:
    return EndedUse.objects.filter(kind__in=kinds, public_id__in=ids)
