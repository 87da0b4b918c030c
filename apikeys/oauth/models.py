"""Models that store what django-oauth-toolkit's models have no field for."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from oauth2_provider.settings import oauth2_settings

from ..conf import project_model
from ..databases.primary import PrimaryManager
from ..models import PersonalAccessToken, ProjectKey

__all__ = ["ClientSettings", "TokenLifetime"]


class Consent(models.Model):
    """The scopes and projects that a user granted to an application.

    Each authorization code or device code has a separate row, which the token then refers to.
    Withdrawing a consent deletes the row.
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
    #: Whether the user answered a consent page. A row of a code that was issued without the
    #: page cannot justify another code without the page.
    is_given = models.BooleanField(
        _("given by the user"), default=False, db_default=False, editable=False
    )
    #: When the user gave less than the application requested, or took a part back. From then on
    #: the application gets nothing more without the consent page, even if the site trusts it.
    narrowed_at = models.DateTimeField(_("narrowed at"), null=True, editable=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    code = models.OneToOneField(
        oauth2_settings.GRANT_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    device = models.OneToOneField(
        oauth2_settings.DEVICE_GRANT_MODEL, models.SET_NULL, null=True, related_name="+"
    )

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")

    def __str__(self) -> str:
        return f"of {self.user} to {self.application}"


class TokenOrigin(models.Model):
    """The parents of an access token, which limit what it can reach.

    The references have no constraint and stay when their target is deleted. A token whose key,
    parent or consent was deleted is refused; a reference set to ``NULL`` would lift its limits.
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
    #: The immediate parent: the access token that was exchanged for this one.
    parent = models.ForeignKey(
        oauth2_settings.ACCESS_TOKEN_MODEL,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        related_name="+",
    )
    #: The first access token of a chain of exchanges. One query finds all tokens of a chain by
    #: it. Version 1.0 stored it in ``parent`` and leaves this field empty.
    first = models.ForeignKey(
        oauth2_settings.ACCESS_TOKEN_MODEL,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        db_index=False,  # the index is in ``Meta``, so that a migration can add it without a lock
        related_name="+",
    )
    #: The users and applications of the parent tokens; see ``upstream``.
    upstream = models.TextField(default="", db_default="", editable=False)
    consent = models.ForeignKey(
        Consent, models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )

    class Meta:
        indexes = (models.Index(fields=["first"], name="apikeys_origins_first"),)

    def __str__(self) -> str:
        return f"of access token {self.pk}"


class ClientSettings(models.Model):
    """Fields that django-oauth-toolkit's application lacks."""

    application = models.OneToOneField(
        oauth2_settings.APPLICATION_MODEL,
        models.CASCADE,
        primary_key=True,
        related_name="apikeys_settings",
    )
    grant_types = models.TextField(
        blank=True, help_text=_("Beside its own: names of RFC 7591, separated by spaces.")
    )
    homepage = models.CharField(
        _("homepage"),
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text=_("Where users can read about the application."),
    )
    description = models.CharField(
        _("description"),
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text=_("Shown to users when they authorize the application."),
    )
    max_scope = models.CharField(
        _("maximum scopes"),
        max_length=4000,
        blank=True,
        default="",
        db_default="",
        help_text=_("The most that the client may request, separated by spaces. Empty: any."),
    )
    previous_secret = models.CharField(max_length=255, blank=True, editable=False)
    previous_secret_expires_at = models.DateTimeField(null=True, editable=False)

    def __str__(self) -> str:
        return f"of {self.application}"


class TokenLifetime(models.Model):
    """The lifetime of tokens for a client and a grant type, for one of the two, or for all.

    The most specific row with a value wins. Without one, the settings of django-oauth-toolkit
    apply; for refresh tokens they are also the maximum.
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

    objects = PrimaryManager()

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
