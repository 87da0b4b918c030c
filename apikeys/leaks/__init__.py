"""Revoke leaked keys and notify their owners.

The endpoint that receives reports is in ``apikeys.api``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

from django.db import router
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import audit, lifecycle, token
from ..audit import Event
from ..conf import app_settings
from ..databases import clock, transactions
from ..databases.primary import reading_primary
from ..hashing.converted import is_secret_of
from ..legacy import verify as legacy
from ..lifecycle import locking
from ..limits import networks
from ..models import KEY_MODELS, AnyKey, AuditEvent, PersonalAccessToken, State
from ..models.chains import chains
from ..refusals import Refused
from ..signals import key_leaked
from ..token import Parsed

__all__ = ["Report", "report", "report_all"]

#: A report also revokes the successor of a key that rotated itself within this time.
SELF_ROTATION: Final = timedelta(hours=24)

_WORKING: Final = (State.LIVE, State.PENDING, State.PAUSED)


@dataclass(frozen=True)
class Report:
    """The result of a report."""

    #: The reported key; ``None`` if the text is not a key of this site.
    key: AnyKey | None = None
    #: Whether this report revoked the key.
    revoked: bool = False
    #: Successors that were also revoked, because the key had rotated itself.
    successors: tuple[AnyKey, ...] = ()


@sensitive_variables("text")
def report(text: str, *, source: str, url: str = "", revoke: bool = True) -> Report:
    """Revoke the key ``text``, and notify its owner where it was found.

    The whole key is proof enough, so no other permission is needed. Pass ``revoke=False`` to
    only warn the owner. ``source`` names who found the key; ``url`` is where.

    If the key rotated itself within the last 24 hours, its successor is revoked too, because the
    finder may have rotated it. Otherwise the mail only names the successor, so that an old key
    cannot end the one in use.

    Raise ``Refused`` (``verification_busy``) if the key cannot be checked right now.
    """
    return report_all([(text, url)], source=source, revoke=revoke)[0]


@reading_primary()
@sensitive_variables("found", "texts")
def report_all(
    found: Sequence[tuple[str, str]], *, source: str, revoke: bool = True
) -> list[Report]:
    """Report many leaked keys, each with the URL where it was found, like ``report``.

    A hundred keys take as many queries as one. Raise ``Refused`` (``verification_busy``) if some
    key cannot be checked right now, after the others were reported: report all of them again.
    """
    texts = [text for text, _url in found]
    keys, busy = _find_all(texts)
    urls: dict[AnyKey, str] = {}
    for (_text, url), key in zip(found, keys, strict=True):
        if key is not None:
            urls.setdefault(key, url)
    reports = _report(urls, source, revoke)
    if busy is not None:
        raise busy
    return [Report() if key is None else reports[key] for key in keys]


@transactions.retried
def _report(urls: Mapping[AnyKey, str], source: str, revoke: bool) -> dict[AnyKey, Report]:
    reports: dict[AnyKey, Report] = {}
    with transactions.atomic(PersonalAccessToken):
        keys = [key for model in KEY_MODELS.values() for key in _locked(model, urls)]
        reported = dict.fromkeys(keys, _("Reported as leaked."))
        done = {key: key for key in lifecycle.revoke_all(reported)} if revoke else {}
        newer = _newer(keys)
        ended = _end_successors(keys, newer) if revoke else {}
        with audit.together():
            for before in keys:
                key, was_live = done.get(before, before), before.state() in _WORKING
                successors = ended.get(before, [])
                successor = _in_use(newer[before], successors)
                matters = was_live or successor is not None
                if successors or (matters and (before in done or not revoke)):
                    changes: dict[str, Any] = {"source": source, "revoked": before in done}
                    if urls[before]:
                        changes["url"] = urls[before][:500]
                    if successors:
                        changes["successors"] = [each.public_id for each in successors]
                    audit.write(Event.LEAKED, key, ip=networks.current_ip(), changes=changes)
                    facts: dict[str, Any] = {"source": source, "url": urls[before]}
                    facts |= {"successors": successors, "successor": successor}
                    key_leaked.send(type(key), key=key, by=None, using=None, **facts)
                reports[before] = Report(key, before in done, tuple(successors))
    return reports


def _locked(model: Any, keys: Iterable[AnyKey]) -> list[Any]:
    return locking.lock_many(model, [key.pk for key in keys if isinstance(key, model)])


def _newer(keys: Iterable[AnyKey]) -> dict[AnyKey, list[Any]]:
    """Return the successors of each key, oldest first."""
    newer: dict[AnyKey, list[Any]] = {}
    for model in KEY_MODELS.values():
        of_model = [key for key in keys if isinstance(key, model)]
        rotated = chains([key for key in of_model if key.rotated_at], newer=True)
        newer |= {key: rotated.get(key.pk, []) for key in of_model}
    return newer


def _end_successors(
    keys: Iterable[AnyKey], newer: Mapping[AnyKey, list[Any]]
) -> dict[AnyKey, list[Any]]:
    """Revoke the keys that each of ``keys`` rotated itself into within the last 24 hours."""
    rotated = [key for key in keys if newer[key]]
    if not rotated:
        return {}
    since = clock.now(AuditEvent) - SELF_ROTATION
    by_themselves = _rotated_by_themselves(
        each for key in rotated for each in (key, *newer[key]) if each.rotated_at
    )
    chosen: dict[AnyKey, list[Any]] = {}
    reasons: dict[Any, str] = {}
    reason = _("The key %(id)s was reported as leaked after it had rotated itself.")
    for key in rotated:
        last, chosen[key] = key, []
        for successor in newer[key]:
            if last.rotated_at is None or last.rotated_at <= since or last not in by_themselves:
                break
            chosen[key].append(successor)
            reasons.setdefault(successor, reason % {"id": last.public_id})
            last = successor
    ended = {key: key for key in lifecycle.revoke_all(reasons)}
    return {key: [ended[each] for each in chosen[key] if each in ended] for key in rotated}


def _in_use(newer: Sequence[Any], ended: Sequence[Any]) -> Any:
    """Return the newest successor, if it is still active after ``ended`` were revoked."""
    last = newer[-1] if newer else None
    is_active = last is not None and last not in ended and last.state() in _WORKING
    return last if is_active else None


def _rotated_by_themselves(keys: Iterable[AnyKey]) -> set[AnyKey]:
    """Return the keys that were rotated with themselves, or with a token issued for them."""
    by_id = {key.public_id: key for key in keys}
    rows = AuditEvent.objects.using(router.db_for_write(AuditEvent))
    rotations = {
        event.public_id: event
        for event in rows.filter(public_id__in=list(by_id), event=Event.ROTATED).order_by("pk")
    }
    return {
        by_id[name]
        for name, event in rotations.items()
        if event.using == name or event.changes.get("by_itself") is True
    }


@sensitive_variables("texts", "asked", "is_right")
def _find_all(texts: Sequence[str]) -> tuple[list[AnyKey | None], Refused | None]:
    """Return the key of each text or ``None``, and a refusal if some could not be checked."""
    asked = candidates(texts)
    rows: dict[tuple[str, str], Any] = {}
    for kind, model in KEY_MODELS.items():
        ids = {each.public_id for each in asked if each.kind == kind}
        if ids:
            found = model._default_manager.filter(public_id__in=ids)
            rows |= {(kind, key.public_id): key for key in found}
    keys: list[AnyKey | None] = []
    busy = None
    for kind, public_id, is_right in asked:
        key, matches = rows.get((kind, public_id)), False
        if key is not None:
            try:
                matches = is_right(key)
            except Refused as refused:
                busy = refused if refused.refusal.status == 503 else busy
        keys.append(key if matches else None)
    return keys, busy


class Candidate(NamedTuple):
    """The kind and the ID in a text, and the function that checks its secret."""

    #: Empty for a text that is not a key.
    kind: str
    public_id: str
    #: Raises ``Refused``, such as ``verification_busy``.
    is_right: Callable[[AnyKey], bool]


@sensitive_variables("texts", "parsed", "imported", "text", "each")
def candidates(texts: Sequence[str]) -> list[Candidate]:
    """Return the candidate of each text, without looking it up. One query for imported keys."""
    parsed = {text: token.parse(text, app_settings.PREFIX) for text in texts}
    imported = legacy.find_all(text for text, each in parsed.items() if each is None)
    return [_candidate(parsed[text], imported.get(text)) for text in texts]


@sensitive_variables("parsed", "imported")
def _candidate(parsed: Parsed | None, imported: legacy.Imported | None) -> Candidate:
    if parsed is not None:
        return Candidate(parsed.kind, parsed.public_id, lambda key: is_secret_of(key, parsed))
    if imported is not None:
        return Candidate(imported.row.kind, str(imported.row.public_id), imported.is_right)
    return Candidate("", "", lambda key: False)
