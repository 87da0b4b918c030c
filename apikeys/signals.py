"""Signals about keys, sent inside the transaction that changes the key.

The sender is the key's model. Every signal has the arguments ``key``, ``by`` (the user, or
``None``) and ``using`` (the ``Access`` of the caller; ``None`` for a session or the shell). No
signal contains a secret. If a receiver raises an exception, the change is rolled back.
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
    "key_paused",
    "key_refused_by_network",
    "key_resumed",
    "key_revoked",
    "key_rotated",
    "key_used_after_end",
    "key_used_from_new_network",
]

#: A key was created, other than by rotation.
key_minted = Signal()

#: A key of another package was imported. ``scheme`` names the package.
key_imported = Signal()

#: A key was edited. ``changes`` is ``{field: (before, after)}``.
key_edited = Signal()

#: A pending key was approved.
key_approved = Signal()

#: A key was rotated. ``successor`` replaces ``key``, which ends at its ``expires_at``.
key_rotated = Signal()

#: A key was revoked; see its ``revoked_*`` fields. Also sent for each key created with it.
key_revoked = Signal()

#: A key was paused; see its ``paused_*`` fields.
key_paused = Signal()

#: A paused key was resumed.
key_resumed = Signal()

# The following signals report events that no user caused, so ``by`` and ``using`` are ``None``.
# ``at`` is the time, ``ip`` the client's address or ``None``. Events about uses are sent by the
# process that finds them first when it writes uses.

#: A key has expired. Sent by ``manage.py apikeys notify``.
key_expired = Signal()

#: A key was used for the first time.
key_first_used = Signal()

#: A key was used from a new ``network``: a /24, or a /48 for IPv6.
key_used_from_new_network = Signal()

#: A valid key was refused because of the client's address. Sent once a day for each address.
key_refused_by_network = Signal()

#: The correct secret of a revoked, expired, rotated, paused or denied key was used. ``code`` is
#: the refusal, ``count`` how often until it was noticed. Sent once for each end of a key, and for
#: each denial of a token, with the slug of the ``project``.
key_used_after_end = Signal()

#: A key was reported as leaked by ``source``, at ``url`` if known. It was revoked before, unless
#: the site only warns.
key_leaked = Signal()
