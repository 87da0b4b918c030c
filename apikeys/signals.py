"""What is told of a key, within the transaction that writes it.

The sender is the key's model. Every signal has ``key``, ``by`` (the user who did it, or
``None``) and ``using`` (the ``Access`` it was done with, or ``None`` for a session or the
shell). None of them carries a secret. A receiver that raises undoes what was done.
"""

from django.dispatch import Signal

__all__ = [
    "key_approved",
    "key_edited",
    "key_expired",
    "key_first_used",
    "key_imported",
    "key_leaked",
    "key_minted",
    "key_refused_by_network",
    "key_revoked",
    "key_rotated",
    "key_used_from_new_network",
]

#: A key was made; not by rotation.
key_minted = Signal()

#: A key was taken over from a predecessor, of whose ``scheme`` it is.
key_imported = Signal()

#: A key was edited: ``changes`` is ``{field: (before, after)}``.
key_edited = Signal()

#: A key that awaited approval may be used from now on.
key_approved = Signal()

#: ``successor`` replaces ``key``, which ends at its ``expires_at``.
key_rotated = Signal()

#: A key was ended, as its ``revoked_*`` fields say. Also sent for each that was made with it.
key_revoked = Signal()

# What is found of a key, rather than done to it: ``by`` and ``using`` are ``None``, ``at`` is
# when it happened, ``ip`` the client's address or ``None``. Sent when uses are written, by
# whichever process finds it first.

#: The end of a key has come; sent by ``manage.py apikeys notify``.
key_expired = Signal()

#: A key was used for the first time.
key_first_used = Signal()

#: A key was used from a ``network`` (a /24, or a /48 of IPv6) from which it never was before.
key_used_from_new_network = Signal()

#: A right key was refused because of where it came from; once a day for each address.
key_refused_by_network = Signal()

#: A key was found where it should not be, ``url`` if that is known, by ``source``. It was
#: revoked just before, if the site says so.
key_leaked = Signal()
