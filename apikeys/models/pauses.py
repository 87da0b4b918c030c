"""The columns of a pause. A paused key keeps everything, and its requests are refused."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Pauses(models.Model):
    """The columns that ``lifecycle.pausing`` writes."""

    paused_at = models.DateTimeField(
        _("paused at"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Requests are refused until the key is resumed."),
    )
    paused_by: "models.ForeignKey[Any, Any]" = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("paused by"),
        db_index=False,  # the index is in ``Meta``, so that a migration can add it without a lock
    )
    paused_reason = models.CharField(
        _("reason of the pause"),
        max_length=200,
        blank=True,
        default="",
        db_default="",
        editable=False,
    )
    is_held = models.BooleanField(
        _("held"),
        default=False,
        db_default=False,
        editable=False,
        help_text=_("Only a site admin can resume the key."),
    )
    resumed_at = models.DateTimeField(
        _("resumed at"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The time without use counts from here."),
    )

    class Meta:
        abstract = True
