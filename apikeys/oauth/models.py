"""What is stored beside django-oauth-toolkit's own rows."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.settings import oauth2_settings

from ..conf import project_model
from ..models import PersonalAccessToken, ProjectKey

__all__ = ["ClientSettings", "TokenLifetime"]


class Consent(models.Model):
    """What a user let an application do, once; a later consent is a row of its own.

    It is found by the authorization code or the device's code until a token points to it.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    application = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL, models.CASCADE, related_name="+"
    )
    scope = models.TextField(_("scopes"))
    all_projects = models.BooleanField(_("all projects"), default=True)
    projects: "models.ManyToManyField[Any, Any]" = models.ManyToManyField(
        project_model(), blank=True, related_name="+", verbose_name=_("projects")
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    code = models.OneToOneField(
        oauth2_settings.GRANT_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    device = models.OneToOneField(
        oauth2_settings.DEVICE_GRANT_MODEL, models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")

    def __str__(self) -> str:
        return f"of {self.user} to {self.application}"


class TokenOrigin(models.Model):
    """What an access token came of, and may never reach beyond.

    The references have no constraint, and nothing happens to them on deletion: a token
    whose origin is gone must be found without one and refused, not set free.
    """

    access_token = models.OneToOneField(
        oauth2_settings.ACCESS_TOKEN_MODEL,
        models.CASCADE,
        primary_key=True,
        related_name="apikeys_origin",
    )
    personal_access_token = models.ForeignKey(
        PersonalAccessToken, models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    project_key = models.ForeignKey(
        ProjectKey, models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    #: The access token that was exchanged for this one; of a chain, the first.
    parent = models.ForeignKey(
        oauth2_settings.ACCESS_TOKEN_MODEL,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        related_name="+",
    )
    consent = models.ForeignKey(
        Consent, models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )

    def __str__(self) -> str:
        return f"of access token {self.pk}"


class ClientSettings(models.Model):
    """What django-oauth-toolkit's application has no field for."""

    application = models.OneToOneField(
        oauth2_settings.APPLICATION_MODEL,
        models.CASCADE,
        primary_key=True,
        related_name="apikeys_settings",
    )
    grant_types = models.TextField(
        blank=True, help_text=_("Beside its own: names of RFC 7591, separated by spaces.")
    )
    previous_secret = models.CharField(max_length=255, blank=True, editable=False)
    previous_secret_expires_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return f"of {self.application}"


class TokenLifetime(models.Model):
    """How long tokens live: of a client and a grant type, of one of them, or of all.

    The most specific row that has a value wins; the settings of django-oauth-toolkit hold
    where none has. For refresh tokens, they are the most that there is.
    """

    application = models.ForeignKey(
        oauth2_settings.APPLICATION_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("client"),
    )
    grant_type = models.CharField(_("grant type"), max_length=64, blank=True)
    access_token_seconds = models.PositiveIntegerField(null=True, blank=True)
    refresh_token_seconds = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        verbose_name = _("token lifetime")
        verbose_name_plural = _("token lifetimes")
        constraints = [
            models.UniqueConstraint(
                fields=["application", "grant_type"], name="apikeys_oauth_lifetime_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.application or '*'}, {self.grant_type or '*'}"
