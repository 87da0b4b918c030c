"""Whether a person who is logged in by session proved lately that it is they."""

from typing import Any


def is_recent(request: Any) -> bool:
    return True
