from collections.abc import Iterable
from typing import Any, cast

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from ..conf import project_model, slug_field, slug_of
from ..databases.primary import PrimaryManager
from . import naming


class AbstractProject(models.Model):
    """Fields that ``apikeys`` needs on a project. Subclass it, or add the same fields."""

    slug = models.SlugField(_("slug"), max_length=64, unique=True)
    name = models.CharField(_("name"), max_length=100)
    is_active = models.BooleanField(
        _("active"),
        default=True,
        help_text=_("Keys of an inactive project are refused, and tokens cannot reach it."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = PrimaryManager()

    class Meta:
        abstract = True
        verbose_name = _("project")
        verbose_name_plural = _("projects")
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Raise ``ValidationError`` for a name that is not readable."""
        super().clean()
        if self.name and not naming.is_readable(self.name):
            message = _(
                "Enter a name with visible characters, and without characters that change "
                "the text direction."
            )
            raise ValidationError({"name": ValidationError(message, code="invalid_name")})


class Project(AbstractProject):
    """Project model for sites without a project model."""

    class Meta(AbstractProject.Meta):
        abstract = False
        swappable = "APIKEYS_PROJECT_MODEL"


class Membership(models.Model):
    """Role of a user in a project. The policy decides what a role may do."""

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

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("membership")
        verbose_name_plural = _("memberships")
        constraints = [
            models.UniqueConstraint(fields=["user", "project"], name="apikeys_membership_once")
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.project} as {self.get_role_display()}"


def get_project_model() -> Any:
    """Return the model that ``APIKEYS_PROJECT_MODEL`` names.

    Raises ``ImproperlyConfigured`` if the model does not exist.
    """
    label = project_model()
    try:
        return cast("Any", apps.get_model(label, require_ready=False))
    except (LookupError, ValueError) as error:
        raise ImproperlyConfigured(
            f"APIKEYS_PROJECT_MODEL is {label!r}; it must be `app_label.ModelName` of an "
            "installed model."
        ) from error


def by_slug(slugs: Iterable[str]) -> dict[str, Any]:
    """Return the projects with these slugs, by slug."""
    rows = get_project_model()._default_manager.filter(**{f"{slug_field()}__in": list(slugs)})
    return {slug_of(project): project for project in rows}
