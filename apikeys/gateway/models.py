"""Models of the gateway: the bindings of resources to their owners, and the routes."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import scopes
from ..conf import project_model
from ..databases.primary import PrimaryManager
from ..models import naming
from . import paths
from .rules import KIND_PATTERN, Rule

__all__ = ["ResourceBinding", "Route"]


class ExactCharField(models.CharField):  # type: ignore[type-arg]
    """Compare byte by byte. MariaDB's default collations treat ``ACME`` and ``acme`` as equal."""

    def db_parameters(self, connection: Any) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


def validate_identifier(value: str) -> None:
    """Raise ``ValidationError`` unless ``value`` has exactly one spelling in a path."""
    try:
        paths.encode(value)
        if not naming.is_readable(value):
            raise paths.Ambiguous("it has no visible character")
    except (paths.Ambiguous, UnicodeEncodeError):
        raise ValidationError(
            _(
                "An identifier can contain only letters, digits and - . _ ~ @ : $, and cannot end "
                "with a dot. Other characters have several spellings in a path."
            ),
            code="invalid",
        ) from None


def cascade(collector: Any, field: Any, sub_objs: Any, using: str) -> None:
    """Delete the bindings of an owner, without setting the owner to ``NULL`` first.

    Django's ``CASCADE`` does that on MariaDB, which would break the check constraint.
    """
    source = field.remote_field.model
    collector.collect(sub_objs, source=source, source_attr=field.name, fail_on_restricted=False)


class ResourceBinding(models.Model):
    """States that a resource of the protected API belongs to a user or a project."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        cascade,
        null=True,
        blank=True,
        related_name="resource_bindings",
        verbose_name=_("user"),
    )
    project = models.ForeignKey(
        project_model(),
        cascade,
        null=True,
        blank=True,
        related_name="resource_bindings",
        verbose_name=_("project"),
    )
    kind = ExactCharField(
        _("kind"),
        max_length=64,
        validators=[
            RegexValidator(
                rf"^{KIND_PATTERN}\Z",
                _(
                    "A kind can contain only letters, digits, _ and -, and must start with a "
                    "letter or _."
                ),
            )
        ],
        help_text=_("The kind of resource, as named in the routes, such as subscriber_id."),
    )
    identifier = ExactCharField(
        _("identifier"),
        max_length=200,
        validators=[validate_identifier],
        help_text=_("The identifier of the resource in the path. Case-sensitive."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("resource binding")
        verbose_name_plural = _("resource bindings")
        ordering = ["-pk"]
        # The identifier comes first because people search for it. NULL never equals NULL, so
        # each unique constraint applies to one kind of owner.
        constraints = [
            models.UniqueConstraint(
                fields=["identifier", "kind", "user"],
                name="apikeys_gateway_user_once",
                violation_error_message=_("This resource is already bound to this user."),
            ),
            models.UniqueConstraint(
                fields=["identifier", "kind", "project"],
                name="apikeys_gateway_project_once",
                violation_error_message=_("This resource is already bound to this project."),
            ),
            models.CheckConstraint(
                condition=models.Q(user=None, project__isnull=False)
                | models.Q(user__isnull=False, project=None),
                name="apikeys_gateway_one_owner",
                violation_error_message=_("Select either a user or a project."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.identifier}"


class Route(models.Model):
    """A route in the database: requests that the gateway allows, and what they need."""

    method = models.CharField(
        _("method"),
        max_length=100,
        help_text=_("One or more methods, separated by spaces. GET includes HEAD."),
    )
    path = models.CharField(
        _("path"),
        max_length=500,
        help_text=_(
            "A template such as /subscribers/{subscriber_id}/offers. End it with ** to match all "
            "paths below."
        ),
    )
    scope = models.CharField(
        _("scopes"), max_length=1000, help_text=_("The required scopes, separated by spaces.")
    )
    bindings = models.CharField(
        _("bindings"),
        max_length=500,
        blank=True,
        help_text=_(
            "The path parameters that must be bound to the caller, separated by spaces. Write "
            "id=subscriber_id if the kind has another name. Leave empty for all parameters; "
            "enter - for none."
        ),
    )
    cors = models.CharField(
        _("allowed origins"),
        max_length=1000,
        blank=True,
        default="",
        db_default="",
        help_text=_(
            "The origins whose pages may use this route in a browser, separated by spaces, such as "
            "https://app.acme.example. Enter * for all origins. Leave empty for none."
        ),
    )
    is_active = models.BooleanField(_("active"), default=True)

    objects = PrimaryManager()

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering = ["path", "method", "pk"]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Validate and save. Raise ``ValidationError``: an invalid route would stop the gateway."""
        self.clean()
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Raise ``ValidationError`` for an invalid rule or an undeclared scope."""
        try:
            rule = self.rule()
        except ValueError as error:
            raise ValidationError(str(error)) from None
        if unknown := scopes.unknown(rule.scopes):
            raise ValidationError({"scope": _("Unknown scope: %s.") % ", ".join(unknown)})

    def rule(self) -> Rule:
        """Return this row as a ``Rule``. Raise ``ValueError`` with a message for the user."""
        bindings = self.bindings.strip() or None
        return Rule.build(self.method, self.path, self.scope, bindings, self.cors)
