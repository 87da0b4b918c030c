from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class UsedNonce(models.Model):
    """A nonce that came with a signed request, as a hash, so that it is good for no other."""

    digest = models.CharField(max_length=64, unique=True, editable=False)
    ends_at = models.DateTimeField(_("ends at"), db_index=True, editable=False)

    class Meta:
        verbose_name = _("used nonce")
        verbose_name_plural = _("used nonces")

    def __str__(self) -> str:
        return self.digest


class IdempotentRequest(models.Model):
    """A request of the JSON API that made a key, so that its repetition makes no other.

    Kept for a day. The caller, the ``Idempotency-Key`` and the body are stored as hashes.
    """

    digest = models.CharField(max_length=64, unique=True, editable=False)
    fingerprint = models.CharField(max_length=64, editable=False)
    made = models.CharField(_("made"), max_length=40, editable=False)
    created_at = models.DateTimeField(
        _("created at"), default=timezone.now, db_index=True, editable=False
    )

    class Meta:
        verbose_name = _("idempotent request")
        verbose_name_plural = _("idempotent requests")

    def __str__(self) -> str:
        return self.made
