from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..databases.primary import PrimaryManager


class UsedNonce(models.Model):
    """Hash of the nonce of a signed request. A nonce works once."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    ends_at = models.DateTimeField(_("ends at"), db_index=True, editable=False)

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("used nonce")
        verbose_name_plural = _("used nonces")

    def __str__(self) -> str:
        return self.digest


class AttemptCount(models.Model):
    """Number of attempts, such as wrong passwords, in one time window.

    The digest covers the subject and the window. Only ``apikeys.limits.attempts`` writes here.
    """

    digest = models.CharField(max_length=64, unique=True, editable=False)
    number = models.PositiveIntegerField(_("number"), default=0, editable=False)
    ends_at = models.DateTimeField(_("ends at"), db_index=True, editable=False)

    class Meta:
        verbose_name = _("count of attempts")
        verbose_name_plural = _("counts of attempts")

    def __str__(self) -> str:
        return self.digest


class IdempotentRequest(models.Model):
    """JSON API request that created a key. A repeated request does not create another.

    Kept for a day. The caller, the ``Idempotency-Key`` and the body are stored as hashes.
    """

    digest = models.CharField(max_length=64, unique=True, editable=False)
    fingerprint = models.CharField(max_length=64, editable=False)
    made = models.CharField(_("created"), max_length=40, editable=False)
    created_at = models.DateTimeField(
        _("created at"), default=timezone.now, db_index=True, editable=False
    )

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("idempotent request")
        verbose_name_plural = _("idempotent requests")

    def __str__(self) -> str:
        return self.made
