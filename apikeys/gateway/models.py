"""What the gateway stores: who a resource is bound to, and what may pass."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import scopes
from ..conf import project_model
from . import paths

__all__ = ["ResourceBinding", "Route"]

KIND_PATTERN = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"


class ExactCharField(models.CharField):  # type: ignore[type-arg]
    """Compared byte by byte: MariaDB's own collations take ``ACME`` for ``acme``."""

    def db_parameters(self, connection: Any) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


def validate_identifier(value: str) -> None:
    try:
        paths.encode(value)
    except (paths.Ambiguous, UnicodeEncodeError):
        raise ValidationError(
            _(
                "An identifier takes letters, digits and - . _ ~ @ : $, and does not end with a "
                "dot: it has to stand in a path in one way only."
            ),
            code="invalid",
        ) from None


def cascade(collector: Any, field: Any, sub_objs: Any, using: str) -> None:
    """As ``CASCADE``, which on MariaDB has a binding belong to nobody for a moment first."""
    source = field.remote_field.model
    collector.collect(sub_objs, source=source, source_attr=field.name, fail_on_restricted=False)


class ResourceBinding(models.Model):
    """Says that a resource of an API that is not ours belongs to a user or a project."""

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
                rf"^{KIND_PATTERN}\Z", _("A kind takes letters, digits, _ and -, a letter first.")
            )
        ],
        help_text=_("What it is, as the routes name it: subscriber_id."),
    )
    identifier = ExactCharField(
        _("identifier"),
        max_length=200,
        validators=[validate_identifier],
        help_text=_("Which one it is, as it stands in the path. Upper and lower case differ."),
    )
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("resource binding")
        verbose_name_plural = _("resource bindings")
        ordering = ["-pk"]
        # The identifier first: it is what people search by. Null differs from null, so that
        # each of these is about its own kind of owner.
        constraints = [
            models.UniqueConstraint(
                fields=["identifier", "kind", "user"],
                name="apikeys_gateway_user_once",
                violation_error_message=_("This user has it already."),
            ),
            models.UniqueConstraint(
                fields=["identifier", "kind", "project"],
                name="apikeys_gateway_project_once",
                violation_error_message=_("This project has it already."),
            ),
            models.CheckConstraint(
                condition=models.Q(user=None, project__isnull=False)
                | models.Q(user__isnull=False, project=None),
                name="apikeys_gateway_one_owner",
                violation_error_message=_("It belongs to a user or to a project: name one."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.identifier}"


class Route(models.Model):
    """Requests that may pass, and on which terms; those of the settings come besides."""

    method = models.CharField(
        _("method"),
        max_length=100,
        help_text=_("One or more of GET, POST, … with spaces between. GET stands for HEAD too."),
    )
    path = models.CharField(
        _("path"),
        max_length=500,
        help_text=_("A template such as /subscribers/{subscriber_id}/offers; ** ends it openly."),
    )
    scope = models.CharField(
        _("scopes"), max_length=1000, help_text=_("All that are needed, with spaces between.")
    )
    bindings = models.CharField(
        _("bindings"),
        max_length=500,
        blank=True,
        help_text=_(
            "The parameters that have to be bound to the caller, with spaces between; "
            "id=subscriber_id where the kind has another name. Empty: all of them; "
            "- alone: none of them."
        ),
    )
    is_active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering = ["path", "method", "pk"]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Raises ``ValidationError``: one wrong route would stop the gateway."""
        self.clean()
        super().save(*args, **kwargs)

    def clean(self) -> None:
        from .routes import Route as Compiled

        try:
            compiled = Compiled.of(self)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        if unknown := scopes.unknown(compiled.scopes):
            raise ValidationError({"scope": _("No such scope: %s.") % ", ".join(unknown)})
