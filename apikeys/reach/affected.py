"""Find the other keys that a decision about a credential denies, or allows again, with it."""

from collections.abc import Collection
from typing import Any

from ..databases.primary import reading_primary
from ..decisions import OAUTH
from ..keys.facts import KINDS
from ..models import KEY_MODELS, AnyKey, PersonalAccessToken, ProjectAccess
from .deciding import below
from .entries import Entry


@reading_primary()
def denied_with(project: Any, entry: Entry) -> list[AnyKey]:
    """Return the other keys that reach ``project`` and that are denied with ``entry``."""
    return _undenied(project, _others(project, entry))


@reading_primary()
def allowed_with(project: Any, entry: Entry) -> list[AnyKey]:
    """Return the keys that were denied together with ``entry``, so that they are allowed too."""
    row = entry.decision
    if row is None or not row.is_denied:
        return []
    others = _others(project, entry)
    rows = ProjectAccess.objects.filter(project=project, at=row.at, is_denied=True)
    together = set(rows.values_list("credential", flat=True)) if others else set()
    return [key for key in others if key.public_id in together]


@reading_primary()
def denied_with_each(pairs: Collection[tuple[Any, PersonalAccessToken]]) -> list[list[AnyKey]]:
    """Return for each project and token the other keys that are denied with the token.

    Takes two queries if no token created a key or belongs to a rotation.
    """
    ids = {key.public_id for _project, key in pairs}
    makers: set[str] = set()
    for model in KEY_MODELS.values() if ids else ():
        rows = model._default_manager.filter(minted_with__in=ids).order_by()
        makers.update(rows.values_list("minted_with", flat=True))
    return [
        _undenied(project, _reaching(project, below(project, None, key), key))
        if key.public_id in makers or key.replaces_id is not None or key.rotated_at is not None
        else []
        for project, key in pairs
    ]


def _others(project: Any, entry: Entry) -> list[AnyKey]:
    first: AnyKey | None = None
    if entry.kind != OAUTH:
        model: Any = KINDS[entry.decided_as]
        first = model._default_manager.filter(public_id=entry.id).first()
        if first is None:
            return []
    return _reaching(project, below(project, entry, first), first)


def _reaching(project: Any, keys: list[AnyKey], first: AnyKey | None) -> list[AnyKey]:
    """Leave out the tokens that do not reach ``project``: its managers learn nothing of them."""
    return [
        key for key in keys if key != first and ((found := key.reach()) is None or project in found)
    ]


def _undenied(project: Any, keys: list[AnyKey]) -> list[AnyKey]:
    ids = [key.public_id for key in keys]
    rows = ProjectAccess.objects.filter(project=project, is_denied=True, credential__in=ids)
    denied = set(rows.values_list("credential", flat=True)) if ids else set()
    return [key for key in keys if key.public_id not in denied]
