"""Act on uses after the end of a key: pause its successors, and forget the uses of a pause.

If a rotated key is used after its end, either a program still has the old secret, or a thief
does, who may know the new one too. A site chooses the pause with ``PAUSE_SUCCESSOR``.
"""

from typing import Any

from django.utils.translation import gettext as _

from .. import refusals
from ..conf.endings import end_settings
from ..errors import LifecycleError
from ..keys import ended
from ..models import AnyKey, State
from ..signals import key_resumed, key_used_after_end
from .pausing import pause


def _used_after_end(key: AnyKey, code: str, **kwargs: Any) -> None:
    if not end_settings.PAUSE_SUCCESSOR or key.rotated_at is None:
        return
    if code == refusals.DENIED_IN_PROJECT.code:
        return  # its secret worked, so the use is not a sign of a thief
    if key.state() not in (State.EXPIRED, State.REVOKED):
        return  # still in its overlap
    reason = _("The secret of %(id)s, which it replaced, was used.") % {"id": key.public_id}
    successors: list[Any] = key.successors()
    for successor in successors:
        try:
            pause(successor, reason=reason)
        except LifecycleError:
            continue  # it has ended too


def _resumed(key: AnyKey, **kwargs: Any) -> None:
    ended.forget_pause(key)


def connect() -> None:
    """Connect the signals. ``AppConfig.ready`` calls this once."""
    key_resumed.connect(_resumed, dispatch_uid="apikeys.lifecycle.reuse")
    key_used_after_end.connect(_used_after_end, dispatch_uid="apikeys.lifecycle.reuse")
