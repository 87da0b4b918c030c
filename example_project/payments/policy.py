"""The policy of the demo, and an example of a custom policy with strict limits."""

from datetime import timedelta
from typing import Any

from apikeys.policy import Policy


class DemoPolicy(Policy):
    """Require approval of tokens and keys that manage other tokens and keys."""

    def needs_approval(self, owner: Any, scope: str) -> bool:
        return scope == "keys:write"


class CarefulPolicy(Policy):
    """Limit keys to 60 days and three per owner, and require approval for payments.

    Set ``APIKEYS["POLICY"]`` to its dotted path.
    """

    def longest_lifetime(self, owner: Any) -> timedelta:
        return timedelta(days=60)

    def most_live_keys(self, owner: Any) -> int:
        return 3

    def needs_approval(self, owner: Any, scope: str) -> bool:
        return scope == "payments:write"
