from typing import Any, cast

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.utils.translation import gettext_lazy as _

from ..conf import project_model


class AbstractProject(models.Model):
    """What ``apikeys`` needs of a project; subclass it for your own, or have these fields."""

    slug = models.SlugField(_("slug"), max_length=64, unique=True)
    name = models.CharField(_("name"), max_length=100)
    is_active = models.BooleanField(
        _("active"),
        default=True,
        help_text=_("Keys of an inactive project are refused; nobody reaches it with a token."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    class Meta:
        abstract = True
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name


class Project(AbstractProject):
    """The project model of sites that have none of their own."""

    class Meta(AbstractProject.Meta):
        abstract = False
        swappable = "APIKEYS_PROJECT_MODEL"


class Membership(models.Model):
    """Who belongs to which project, as what. The policy says what a role may do."""

    class Role(models.TextChoices):
        OWNER = "owner", _("owner")
        ADMIN = "admin", _("admin")
        DEVELOPER = "developer", _("developer")
        VIEWER = "viewer", _("viewer")

    project = models.ForeignKey(
        project_model(),
        models.CASCADE,
        related_name="memberships",
        verbose_name=_("project"),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="project_memberships",
        verbose_name=_("user"),
    )
    role = models.CharField(_("role"), max_length=16, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["user", "project"], name="apikeys_membership_once")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project} as {self.get_role_display()}"


def get_project_model() -> Any:
    """The model that ``APIKEYS_PROJECT_MODEL`` names.

    Raises ``ImproperlyConfigured`` if there is none of that name.
    """
    label = project_model()
    try:
        return cast("Any", apps.get_model(label, require_ready=False))
    except (LookupError, ValueError) as error:
        raise ImproperlyConfigured(
            f"APIKEYS_PROJECT_MODEL is {label!r}; it must be `app_label.ModelName` of an "
            "installed model."
        ) from error
