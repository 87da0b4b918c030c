"""Signals about OAuth clients and what users allow them, sent inside the transaction.

Every signal has the argument ``application`` (``None`` for a token that a key got for itself)
and ``by``: the user who acted, or ``None``. No signal contains a secret. If a receiver raises an
exception, the change is rolled back.
"""

from django.dispatch import Signal

__all__ = [
    "client_deleted",
    "client_edited",
    "client_registered",
    "client_secret_rotated",
    "consent_given",
    "consent_narrowed",
    "consent_withdrawn",
    "token_exchanged",
    "token_issued",
]

#: ``user`` allowed an application ``scopes`` in ``projects`` (``None``: all) on a consent page.
consent_given = Signal()

#: ``user`` took a part of an application's access back. ``changes`` is
#: ``{field: (before, after)}``.
consent_narrowed = Signal()

#: The access that ``user`` gave an application was revoked.
consent_withdrawn = Signal()

#: A client was registered: on a page, by a program, by its metadata document or in the admin.
client_registered = Signal()

#: The owner of a client edited it. ``changes`` is ``{field: (before, after)}``.
client_edited = Signal()

#: A client got a new secret. The old one works until ``expires_at``; ``None`` if it ended at once.
client_secret_rotated = Signal()

#: A client was deleted with all its tokens.
client_deleted = Signal()

#: An application got its first access token of a ``grant_type``, with ``scopes``, for ``user``
#: (``None`` for its own). Refreshing the token sends nothing.
token_issued = Signal()

#: A ``key`` or a token of ``user`` was exchanged for an access token with ``scopes``. Sent once a
#: day for each key or user, and each application.
token_exchanged = Signal()
