from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NoReturn

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ..databases.primary import from_primary


class AppendOnlyError(TypeError):
    """Raised on an attempt to change or delete an audit event."""

    def __init__(self) -> None:
        super().__init__("Audit events are only added: none is changed or deleted.")


_MOST_PRUNED: Final = 1000  # entries about deletions to read
#: ``AuditEvent.kind`` of an event about an OAuth client.
CLIENT: Final = "client"
#: ``AuditEvent.kind`` of an event about the site itself.
SITE: Final = "site"


class AuditQuerySet(models.QuerySet["AuditEvent"]):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        from_primary(self)

    def of(self, owner: models.Model) -> "AuditQuerySet":
        """Filter the events of the keys of ``owner``, a user or a project."""
        return self.filter(kind=_kind_of(owner), owner_pk=str(owner.pk))

    def with_clients_of(self, owner: models.Model) -> "AuditQuerySet":
        """Filter like ``of``, with the events about OAuth clients of a user."""
        return self.filter(kind__in=_kinds_of(owner), owner_pk=str(owner.pk))

    def parts_with_clients_of(self, owner: models.Model) -> "list[AuditQuerySet]":
        """Return the events of ``with_clients_of`` by kind.

        An index lists the events of one kind by age. Of two kinds, a database would sort all.
        """
        return [self.filter(kind=kind, owner_pk=str(owner.pk)) for kind in _kinds_of(owner)]

    def pruned_until(self) -> datetime | None:
        """Return the time before which events were deleted; ``None`` if none were."""
        pruned = self.filter(event=AuditEvent.Event.PRUNED).order_by("-pk")
        untils = [
            datetime.fromisoformat(changes["until"])
            for changes in pruned.values_list("changes", flat=True)[:_MOST_PRUNED]
            if changes.get("pruned") == "events"
        ]
        return max(untils, default=None)

    def update(self, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError

    def delete(self) -> NoReturn:
        raise AppendOnlyError

    def bulk_update(
        self, objs: Iterable[Any], fields: Iterable[str], batch_size: int | None = None
    ) -> NoReturn:
        raise AppendOnlyError


def _is_project(owner: models.Model) -> bool:
    from .keys import ProjectKey

    return isinstance(owner, ProjectKey._meta.get_field("project").related_model)


def _kinds_of(owner: models.Model) -> list[str]:
    return [_kind_of(owner)] if _is_project(owner) else [_kind_of(owner), CLIENT]


def _kind_of(owner: models.Model) -> str:
    from .keys import PersonalAccessToken, ProjectKey

    model = ProjectKey if _is_project(owner) else PersonalAccessToken
    return str(model._meta.model_name)


class AuditEvent(models.Model):
    """One event in the life of a key or an OAuth client: who did what, with what, from where.

    An event stores the names of people, projects, keys and clients instead of references, so it
    outlives them. It never stores a secret.
    """

    class Event(models.TextChoices):
        MINTED = "minted", _("created")
        IMPORTED = "imported", _("imported")
        EDITED = "edited", _("edited")
        APPROVED = "approved", _("approved")
        ROTATED = "rotated", _("rotated")
        REVOKED = "revoked", _("revoked")
        PAUSED = "paused", _("paused")
        RESUMED = "resumed", _("resumed")
        EXPIRED = "expired", _("expired")
        DELETED = "deleted", _("deleted")
        FIRST_USED = "first_used", _("first used")
        NEW_NETWORK = "new_network", _("used from a new network")
        REFUSED_NETWORK = "refused_network", _("refused: address not allowed")
        USED_AFTER_END = "used_after_end", _("used after its end")
        DENIED = "denied", _("denied in a project")
        ALLOWED = "allowed", _("allowed in a project")
        NOTIFIED = "notified", _("expiry notice sent")
        LEAKED = "leaked", _("reported as leaked")
        EXCHANGED = "exchanged", _("exchanged for an access token")
        CONSENTED = "consented", _("application authorized")
        NARROWED = "narrowed", _("application limited")
        WITHDRAWN = "withdrawn", _("application revoked")
        TOKEN_ISSUED = "token_issued", _("application logged in")
        CLIENT_REGISTERED = "client_registered", _("client registered")
        CLIENT_EDITED = "client_edited", _("client edited")
        CLIENT_ROTATED = "client_rotated", _("client secret rotated")
        CLIENT_DELETED = "client_deleted", _("client deleted")
        PRUNED = "pruned", _("old entries deleted")

    event = models.CharField(_("event"), max_length=24, choices=Event.choices)
    at = models.DateTimeField(_("at"), default=timezone.now)
    kind = models.CharField(_("kind"), max_length=24)
    public_id = models.CharField(_("ID"), max_length=16)
    name = models.CharField(_("name"), max_length=100)
    owner = models.CharField(_("owner"), max_length=255)
    owner_pk = models.CharField(max_length=64)
    by = models.CharField(_("by"), max_length=255, blank=True)
    by_pk = models.CharField(max_length=64, blank=True)
    using = models.CharField(
        _("with"),
        max_length=255,
        blank=True,
        help_text=_("The ID of the credential that was used."),
    )
    instance = models.CharField(
        _("instance"),
        max_length=100,
        blank=True,
        help_text=_("The name of the key that signed the request."),
    )
    authorized_by = models.CharField(
        _("authorized by"),
        max_length=255,
        blank=True,
        help_text=_("The user who approved or created that key."),
    )
    ip = models.GenericIPAddressField(_("from"), null=True, blank=True)
    changes = models.JSONField(_("changes"), default=dict, blank=True)
    #: Unique value of an event that is recorded once. ``None`` for an event that can repeat.
    once = models.CharField(max_length=120, unique=True, null=True, editable=False)  # noqa: DJ001

    objects = AuditQuerySet.as_manager()

    class Meta:
        verbose_name = _("audit event")
        verbose_name_plural = _("audit events")
        ordering = ["-pk"]
        base_manager_name = "objects"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["kind", "owner_pk", "-id"], name="apikeys_audit_owner"),
            models.Index(
                fields=["kind", "owner_pk", "event", "-id"], name="apikeys_audit_owner_event"
            ),
            models.Index(fields=["kind", "owner_pk", "-at", "-id"], name="apikeys_audit_owner_at"),
            models.Index(fields=["public_id", "-id"], name="apikeys_audit_key"),
            models.Index(fields=["event", "-id"], name="apikeys_audit_event"),
            models.Index(fields=["at"], name="apikeys_audit_at"),
        ]

    def __str__(self) -> str:
        return f"{self.public_id}: {self.get_event_display()}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError
        kwargs["force_insert"] = True
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError

    def label(self) -> Any:
        """Return the word for the event. A decision about a request has its own."""
        answers = {
            ("revoked", "rejected"): _("rejected"),
            ("denied", "requested"): _("rejected in a project"),
            ("allowed", "requested"): _("approved in a project"),
        }
        found = (
            words
            for (event, mark), words in answers.items()
            if event == self.event and self.changes.get(mark) is True
        )
        return next(found, self.get_event_display())


#: The events about OAuth clients, not keys.
EVENTS_OF_CLIENTS: Final = frozenset(
    {
        AuditEvent.Event.CONSENTED,
        AuditEvent.Event.NARROWED,
        AuditEvent.Event.WITHDRAWN,
        AuditEvent.Event.TOKEN_ISSUED,
        AuditEvent.Event.CLIENT_REGISTERED,
        AuditEvent.Event.CLIENT_EDITED,
        AuditEvent.Event.CLIENT_ROTATED,
        AuditEvent.Event.CLIENT_DELETED,
    }
)
#: The events about the site itself. Only operators see them.
EVENTS_OF_SITE: Final = frozenset({AuditEvent.Event.PRUNED})
