"""Fetch the age of a key with its row, to enforce the longest lifetime of the policy."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..models.lifetimes import bounded
from .lookup import Group, Lookup, Row, Wanted
from .lookup import fields as only


class Aging(Lookup):
    """A lookup of keys. ``expires_at`` of a row is at most what the policy allows.

    The first of ``instances`` is the owner of the key. The policy is asked when a row is read
    from the database, and not again while it is cached.
    """

    def __init__(
        self,
        model: Any,
        by: str,
        fields: Sequence[str | Group],
        instances: Mapping[str, Wanted],
        owners: Collection[str],
        **kwargs: Any,
    ) -> None:
        instances = {**instances, "": only("created_at")}
        super().__init__(model, by, fields, instances, owners, **kwargs)
        self._expiry = list(fields).index("expires_at")

    def build(self, row: Row) -> list[Any]:
        """Return the instances without the key itself."""
        return super().build(row)[:-1]

    def _judged(self, row: list[Any], alias: str) -> Row:
        judged = list(super()._judged(row, alias))
        owner, *_, key = super().build(judged)
        if owner is not None:
            judged[self._expiry] = bounded(judged[self._expiry], key.created_at, owner)
        return judged
