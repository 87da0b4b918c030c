"""What ``lifecycle`` tells of a key, within the transaction that writes it.

The sender is the key's model. Every signal has ``key``, ``by`` (the user who did it, or
``None``) and ``using`` (the ``Access`` it was done with, or ``None`` for a session or the
shell). None of them carries a secret. A receiver that raises undoes what was done.
"""

from django.dispatch import Signal

#: A key was made; not by rotation.
key_minted = Signal()

#: ``changes`` is ``{field: (before, after)}`` of what was edited.
key_edited = Signal()

#: A key that awaited approval may be used from now on.
key_approved = Signal()

#: ``successor`` replaces ``key``, which ends at its ``expires_at``.
key_rotated = Signal()

#: A key was ended, as its ``revoked_*`` fields say. Also sent for each that was made with it.
key_revoked = Signal()
