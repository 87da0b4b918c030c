"""A policy of one's own: what a careful company might ask for."""

from datetime import timedelta
from typing import Any

from apikeys.policy import Policy


class CarefulPolicy(Policy):
    """Keys end within 60 days, are few, and pay only after somebody agreed to it.

    Its dotted path goes into ``APIKEYS["POLICY"]``.
    """

    def longest_lifetime(self, owner: Any) -> timedelta:
        return timedelta(days=60)

    def most_live_keys(self, owner: Any) -> int:
        return 3

    def needs_approval(self, owner: Any, scope: str) -> bool:
        return scope == "payments:write"
