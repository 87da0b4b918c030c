"""Mark the secret of a converted key with the time at which it stops working.

The mark takes the place of the pepper's ID, so that no column and no step is added to the
verification of other keys. Version 1.0 knows no such pepper and refuses the secret at once.
"""

from datetime import UTC, datetime
from typing import Final

_MARK: Final = "~"


def mark(ends: datetime) -> str:
    """Return the ``pepper_id`` of a secret that stops working at ``ends``."""
    return f"{_MARK}{int(ends.timestamp()):x}"


def ends_of(pepper_id: str) -> datetime | None:
    """Return when the secret stops working; ``None`` if ``pepper_id`` is not such a mark."""
    if not pepper_id.startswith(_MARK):
        return None
    return datetime.fromtimestamp(int(pepper_id[1:], 16), UTC)
