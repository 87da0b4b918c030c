"""When a key expires: its expiry, or earlier if the longest lifetime is enforced."""

from datetime import datetime
from typing import Any

from django.db import models

from ..conf import app_settings
from ..conf.endings import end_settings


def bounded(expires_at: datetime | None, created_at: datetime, owner: Any) -> datetime | None:
    """Return ``expires_at``, but no later than the policy's longest lifetime allows."""
    longest = app_settings.POLICY.longest_lifetime(owner)
    if longest is None:
        return expires_at
    try:
        ends: datetime = created_at + longest
    except OverflowError:
        return expires_at
    return ends if expires_at is None else min(ends, expires_at)


class Lifetime(models.Model):
    """Adds ``ends_at`` to a key."""

    class Meta:
        abstract = True

    def ends_at(self) -> datetime | None:
        """Return when requests with the key are refused, if it is not revoked before.

        This is ``expires_at``. With ``ENFORCE_LONGEST_LIFETIME``, it may be earlier.
        """
        key: Any = self
        expires_at: datetime | None = key.expires_at
        if not end_settings.ENFORCE_LONGEST_LIFETIME:
            return expires_at
        return bounded(expires_at, key.created_at, key.owner)
