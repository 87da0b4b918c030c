from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..databases.primary import PrimaryManager
from .keys import PersonalAccessToken, ProjectKey


class LegacyKey(models.Model):
    """Find an imported key by its old text, which contains no ID.

    The row outlives its key, so that a repeated import does not restore a deleted key.
    """

    token = models.OneToOneField(
        PersonalAccessToken, models.SET_NULL, null=True, editable=False, related_name="legacy"
    )
    key = models.OneToOneField(
        ProjectKey, models.SET_NULL, null=True, editable=False, related_name="legacy"
    )
    scheme = models.CharField(_("scheme"), max_length=16, editable=False)
    #: The start of the SHA-512 of a strong text, or the Argon2id of a weak text with ``salt``.
    selector = models.CharField(max_length=64, unique=True, editable=False)
    #: The selector at import. A repeated import finds the row by it.
    source = models.CharField(max_length=64, unique=True, editable=False)
    #: The hash of the previous package. Cleared at first use, when the key gets a root and digest.
    hash = models.CharField(max_length=255, blank=True, editable=False)
    #: Hexadecimal. All weak texts share a salt, so one Argon2id finds any. Empty for strong texts.
    salt = models.CharField(max_length=32, blank=True, editable=False, db_index=True)
    imported_at = models.DateTimeField(_("imported at"), default=timezone.now, editable=False)

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("imported key")
        verbose_name_plural = _("imported keys")
        default_permissions = ()

    def __str__(self) -> str:
        return self.scheme
