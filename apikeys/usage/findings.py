"""Find first uses, new networks and refused addresses in the notes of ``apikeys.usage``.

Each finding is written to the audit log once, by the first process that finds it. A refused
address is written once a day.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from .. import audit
from ..audit import Event
from ..limits import networks
from ..models import AnyKey, AuditEvent

Places = Mapping[tuple[int, str | None], datetime]

_BATCH = 900  # values in one statement


class _Finding(NamedTuple):
    once: str
    pk: int
    event: Event
    at: datetime
    ip: str | None
    network: str = ""


def tell(
    model: type[AnyKey], used_before: Mapping[int, str | None], used: Places, refused: Places
) -> None:
    """Write the new findings. ``used_before`` has the last address of each key."""
    if not used and not refused:
        return
    kind = model.KIND
    findings: dict[str, _Finding] = {}
    first: dict[int, str] = {}
    for (pk, ip), at in sorted(used.items(), key=lambda place: place[1]):
        network = networks.usual_network(ip)
        if pk not in used_before and pk not in first:
            once = f"first_used:{kind}:{pk}"
            findings[once] = _Finding(once, pk, Event.FIRST_USED, at, ip)
            first[pk] = network
        elif network not in ("", first.get(pk), networks.usual_network(used_before.get(pk))):
            once = f"network:{kind}:{pk}:{network}"
            findings.setdefault(once, _Finding(once, pk, Event.NEW_NETWORK, at, ip, network))
    for (pk, ip), at in refused.items():
        once = f"refused:{kind}:{pk}:{ip}:{at.date()}"
        findings.setdefault(once, _Finding(once, pk, Event.REFUSED_NETWORK, at, ip))
    new = sorted(set(findings) - _already_written(list(findings)))
    if not new:
        return
    keys = keys_of(model, {findings[once].pk for once in new})
    first_networks = _first_networks([findings[once] for once in new], kind)
    found: list[tuple[AnyKey, AuditEvent]] = []
    for once in new:  # sorted, so that parallel processes cannot deadlock
        finding = findings[once]
        if (key := keys.get(finding.pk)) is None:  # deleted meanwhile
            continue
        if finding.network and first_networks.get(finding.pk) == finding.network:
            continue
        changes = {"network": finding.network} if finding.network else None
        facts: dict[str, Any] = {
            "at": finding.at,
            "ip": finding.ip,
            "changes": changes,
            "once": once,
        }
        found.append((key, audit.compose(finding.event, key, **facts)))
    audit.write_once(found)


def _already_written(onces: list[str]) -> set[str]:
    told: set[str] = set()
    for start in range(0, len(onces), _BATCH):
        rows = AuditEvent.objects.filter(once__in=onces[start : start + _BATCH])
        told.update(text for text in rows.values_list("once", flat=True) if text)
    return told


def keys_of(model: Any, pks: set[int]) -> dict[int, Any]:
    """Return the keys with these primary keys that still exist, with their owners."""
    owner = model.OWNER
    keys, wanted = {}, sorted(pks)
    for start in range(0, len(wanted), _BATCH):
        rows = model._default_manager.select_related(owner)
        keys.update(rows.in_bulk(wanted[start : start + _BATCH]))
    return keys


def _first_networks(findings: list[_Finding], kind: str) -> dict[int, str]:
    """Return the network of each key's first use, which is not reported again as new."""
    pks = {f"first_used:{kind}:{f.pk}": f.pk for f in findings if f.event is Event.NEW_NETWORK}
    found: dict[int, str] = {}
    onces = list(pks)
    for start in range(0, len(onces), _BATCH):
        rows = AuditEvent.objects.filter(once__in=onces[start : start + _BATCH])
        for once, ip in rows.values_list("once", "ip"):
            found[pks[once or ""]] = networks.usual_network(ip)
    return found
