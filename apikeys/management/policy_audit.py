"""Find keys that have not ended and that today's policy would refuse to create."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.utils.translation import gettext as _

from .. import scopes
from ..keys.facts import record, with_facts
from ..models import KEY_MODELS, AnyKey, live
from ..policy import get_policy

_CHUNK = 500  # keys in memory at a time
_FIELDS = (
    "pk", "public_id", "scope", "created_at", "expires_at", "is_pending", "approved_at",
    "rotated_at",
)  # fmt: skip


def violations() -> Iterator[dict[str, Any]]:
    """Yield the record of each such key, with ``violations``: ``[{"code": …, "detail": …}]``.

    The codes are those with which ``lifecycle.mint`` would refuse the key, and
    ``approval_required``. If an owner has too many keys, the newest are reported. Memory does not
    grow with the number of keys. It takes one query for 500 keys.
    """
    for model in KEY_MODELS.values():
        yield from _of(model)


def _of(model: type[AnyKey]) -> Iterator[dict[str, Any]]:
    rules: _Rules | None = None
    for keys in _chunks(model):
        found: dict[int, list[dict[str, str]]] = {}
        for key in keys:
            if rules is None or rules.owner != key.owner:
                rules = _Rules(key.owner)
            if against := list(rules.against(key)):
                found[key.pk] = against
        facts = with_facts(model).in_bulk(list(found))
        for pk, against in found.items():
            if pk in facts:  # not deleted meanwhile
                yield record(facts[pk]) | {"violations": against}


def _chunks(model: type[AnyKey]) -> Iterator[list[Any]]:
    """Yield lists of keys, by owner and from old to new.

    Each list takes one query, because some drivers load all rows of a result at once.
    """
    owner = model.OWNER
    keys = (
        model._default_manager.filter(live())
        .select_related(owner)
        .only(*_FIELDS, owner)
        .order_by(f"{owner}_id", "pk")
    )
    chunk = list(keys[:_CHUNK])
    while chunk:
        yield chunk
        last = chunk[-1]
        at = getattr(last, f"{owner}_id")
        after = keys.filter(**{f"{owner}_id__gte": at})
        chunk = list(after.exclude(**{f"{owner}_id": at, "pk__lte": last.pk})[:_CHUNK])


class _Rules:
    """The rules of the policy for one owner, fetched once, and the number of keys so far."""

    def __init__(self, owner: Any) -> None:
        policy = get_policy()
        self.owner = owner
        self._longest = policy.longest_lifetime(owner)
        self._allows_no_expiry = policy.allows_no_expiry(owner)
        self._most = policy.most_live_keys(owner)
        self._count = 0
        self._to_approve = lru_cache(maxsize=128)(self._ask_which_to_approve)

    def _ask_which_to_approve(self, scope: str) -> list[str]:
        needs = get_policy().needs_approval
        return sorted(name for name in scopes.expand(scope) if needs(self.owner, name))

    def against(self, key: Any) -> Iterator[dict[str, str]]:
        longest, ends = self._longest, key.expires_at
        if ends is None:
            if longest is not None or not self._allows_no_expiry:
                yield _violation("expiry_required", _("The key has no expiry."))
        # A rotated key expires within days, whenever it was created.
        elif key.rotated_at is None and longest is not None and ends > key.created_at + longest:
            text = _("The key is valid for longer than %(days)d days.") % {"days": longest.days}
            yield _violation("expiry_too_late", text)
        if key.rotated_at is None:
            self._count += 1
            if self._most is not None and self._count > self._most:
                text = _(
                    "The owner has %(most)d older keys that have not ended, which is the maximum."
                )
                yield _violation("too_many_keys", text % {"most": self._most})
        unapproved = not key.is_pending and key.approved_at is None
        if unapproved and (names := self._to_approve(key.scope)):
            text = _("These scopes were never approved: %(scopes)s.") % {"scopes": ", ".join(names)}
            yield _violation("approval_required", text)


def _violation(code: str, detail: str) -> dict[str, str]:
    return {"code": code, "detail": detail}
