"""Create, edit, approve, rotate, pause and revoke keys. Nothing else writes keys.

Each verb has its module. ``apikeys.keys`` reads keys, ``apikeys.verify`` checks them.
"""

from typing import Final

from ..errors import LifecycleError
from ..restrictions import networks, rates
from .approval import approve, reject
from .cleaning import MAX_OVERLAP, MAX_YEAR
from .editing import KEEP, edit
from .ending import revoke, revoke_all
from .minting import Minted, mint
from .narrowing import keep_used, undo, undoable, uses
from .pausing import pause, pause_all, resume, resume_all
from .people import apply_user_event, membership_lost
from .rotation import rotate
from .trusting import convert

__all__ = [
    "KEEP",
    "MAX_NETWORKS",
    "MAX_OVERLAP",
    "MAX_RATES",
    "MAX_YEAR",
    "LifecycleError",
    "Minted",
    "apply_user_event",
    "approve",
    "convert",
    "edit",
    "keep_used",
    "membership_lost",
    "mint",
    "pause",
    "pause_all",
    "reject",
    "resume",
    "resume_all",
    "revoke",
    "revoke_all",
    "rotate",
    "undo",
    "undoable",
    "uses",
]

#: Maximum number of allowed networks per key.
MAX_NETWORKS: Final = networks.MAX_NETWORKS
#: Maximum number of rate limits per key.
MAX_RATES: Final = rates.MAX_RATES
