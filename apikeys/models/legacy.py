from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .keys import PersonalAccessToken, ProjectKey


class LegacyKey(models.Model):
    """How a key that was imported is found by the text that its holder has: it names no id.

    The row outlives its key, so that importing again does not bring back what was deleted.
    """

    token = models.OneToOneField(
        PersonalAccessToken, models.SET_NULL, null=True, editable=False, related_name="legacy"
    )
    key = models.OneToOneField(
        ProjectKey, models.SET_NULL, null=True, editable=False, related_name="legacy"
    )
    scheme = models.CharField(_("scheme"), max_length=16, editable=False)
    #: Of a strong text the start of its SHA-512; of a weak one its Argon2id under ``salt``.
    selector = models.CharField(max_length=64, unique=True, editable=False)
    #: The selector at the import, by which a repeated one knows it.
    source = models.CharField(max_length=64, unique=True, editable=False)
    #: What the predecessor stored, until the first use: then the key has a root and a digest.
    hash = models.CharField(max_length=255, blank=True, editable=False)
    #: Hexadecimal, one for all weak texts, so that one Argon2id finds any; empty for strong ones.
    salt = models.CharField(max_length=32, blank=True, editable=False, db_index=True)
    imported_at = models.DateTimeField(_("imported at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("imported key")
        verbose_name_plural = _("imported keys")
        default_permissions = ()

    def __str__(self) -> str:
        return self.scheme

    @property
    def owner_key(self) -> Any:
        """The key as which it goes on; ``None`` once that was deleted."""
        return self.token or self.key
