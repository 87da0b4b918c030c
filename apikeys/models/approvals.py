"""The columns of an approval. A pending key does not work until someone approves it."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Approvals(models.Model):
    """The columns that ``lifecycle.approval`` writes."""

    is_pending = models.BooleanField(
        _("pending approval"),
        default=False,
        editable=False,
        help_text=_("Requests are refused until the key is approved."),
    )
    approved_at = models.DateTimeField(_("approved at"), null=True, blank=True, editable=False)
    approved_by: "models.ForeignKey[Any, Any]" = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("approved by"),
    )
    #: A rejected key is revoked too. The columns of the revocation have the time, user and reason.
    is_rejected = models.BooleanField(
        _("rejected"),
        default=False,
        db_default=False,
        editable=False,
        help_text=_("The key was revoked instead of approved, so it never worked."),
    )

    class Meta:
        abstract = True
