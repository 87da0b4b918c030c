"""Store uses of credentials by project and scope, and decisions about them in a project.

A credential is named by its kind and ID, not by a reference, because OAuth applications, keys
and workloads are all named here. The ID of an OAuth application is one of ``oauth.identity``.
"""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..conf import project_model
from ..databases.primary import PrimaryManager


class ScopeUse(models.Model):
    """How often a credential used a scope in a project: first, last and in total."""

    kind = models.CharField(_("kind"), max_length=24)
    #: The public ID of a key. For an application, an ID derived from its client and its user.
    credential = models.CharField(_("ID"), max_length=40)
    #: The primary key of the project. Empty for a request that named no single project.
    project_pk = models.CharField(max_length=64, blank=True, default="")
    scope = models.CharField(_("scope"), max_length=255)
    first_used_at = models.DateTimeField(_("first used at"))
    last_used_at = models.DateTimeField(_("last used at"))
    count = models.PositiveBigIntegerField(_("requests"), default=0)

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("use of a scope")
        verbose_name_plural = _("uses of scopes")
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "credential", "project_pk", "scope"], name="apikeys_scope_use_once"
            )
        ]
        indexes = [models.Index(fields=["project_pk", "kind"], name="apikeys_scope_use_project")]

    def __str__(self) -> str:
        return f"{self.scope} by {self.credential}"


class ProjectAccess(models.Model):
    """A decision about a credential in a project: it is denied there, or allowed.

    If a project requires approval, it refuses each personal access token that is not allowed.
    Elsewhere, only a denial has an effect.
    """

    project: "models.ForeignKey[Any, Any]" = models.ForeignKey(
        project_model(), models.CASCADE, related_name="+", verbose_name=_("project")
    )
    kind = models.CharField(_("kind"), max_length=24)
    credential = models.CharField(_("ID"), max_length=40)
    is_denied = models.BooleanField(_("denied"), default=True)
    is_rejected = models.BooleanField(
        _("rejected"),
        default=False,
        db_default=False,
        help_text=_("Whether the denial was the answer to a request for approval."),
    )
    reason = models.CharField(_("reason"), max_length=200, blank=True)
    by: "models.ForeignKey[Any, Any]" = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("by"),
    )
    at = models.DateTimeField(_("at"), default=timezone.now)

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("decision about access")
        verbose_name_plural = _("decisions about access")
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["credential", "kind", "project"], name="apikeys_project_access_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.credential} in {self.project}"


class ProjectRules(models.Model):
    """The requirements of a project for the credentials of its members."""

    project: "models.OneToOneField[Any, Any]" = models.OneToOneField(
        project_model(), models.CASCADE, primary_key=True, related_name="+"
    )
    approves_tokens = models.BooleanField(
        _("approves tokens"),
        default=False,
        help_text=_("Whether a personal access token reaches the project only once approved."),
    )

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("rules of a project")
        verbose_name_plural = _("rules of projects")
        default_permissions = ()

    def __str__(self) -> str:
        return f"of {self.project}"


class EndedUse(models.Model):
    """Uses of the correct secret of a key after its end: first, last, how often, from where.

    Or uses of a personal access token in a project in which it is denied.
    """

    kind = models.CharField(_("kind"), max_length=24)
    public_id = models.CharField(_("ID"), max_length=16)
    #: The primary key of the project in which the token is denied. Empty for uses after the end.
    project_pk = models.CharField(max_length=64, blank=True, default="", db_default="")
    #: Why the last request was refused: a code of ``apikeys.refusals``.
    code = models.CharField(_("refusal"), max_length=40)
    first_used_at = models.DateTimeField(_("first used at"))
    last_used_at = models.DateTimeField(_("last used at"))
    first_ip = models.GenericIPAddressField(_("first used from"), null=True)
    last_ip = models.GenericIPAddressField(_("last used from"), null=True)
    count = models.PositiveBigIntegerField(_("requests"), default=0)
    #: The end that was reported: ``AuditEvent.once`` of its event, which may be pruned.
    reported = models.CharField(max_length=120, blank=True, default="", db_default="")

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("use after the end")
        verbose_name_plural = _("uses after the end")
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "public_id", "project_pk"], name="apikeys_ended_use_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.count} of {self.public_id}"
