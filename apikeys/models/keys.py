from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import scopes, token
from ..conf import project_model


class State(models.TextChoices):
    """Where a key is in its life; all but ``LIVE`` are refused."""

    LIVE = "live", _("live")
    PENDING = "pending", _("awaits approval")
    EXPIRED = "expired", _("expired")
    REVOKED = "revoked", _("revoked")


def live(now: datetime | None = None) -> models.Q:
    """Matches keys that are neither revoked nor expired."""
    unexpired = models.Q(expires_at=None) | models.Q(expires_at__gt=now or timezone.now())
    return models.Q(revoked_at=None) & unexpired


def reaching_only(projects: models.QuerySet[Any, Any]) -> models.Q:
    """Matches tokens with selected projects, each of which is among ``projects``."""
    field = PersonalAccessToken._meta.get_field("projects")
    beyond = PersonalAccessToken.projects.through._default_manager.exclude(
        **{f"{field.m2m_reverse_field_name()}__in": projects}
    )
    tokens = beyond.values(field.m2m_field_name())
    return models.Q(all_projects=False) & ~models.Q(pk__in=tokens)


class AbstractKey(models.Model):
    """What both kinds of key share. A secret is stored as a root and a digest only."""

    KIND: ClassVar[str]

    public_id = models.CharField(
        _("id"), max_length=token.ID_LENGTH, unique=True, default=token.generate_id, editable=False
    )
    name = models.CharField(_("name"), max_length=100)
    scope = models.TextField(
        _("scopes"), help_text=_("Names of scopes, separated by spaces (RFC 6749 section 3.3).")
    )

    root = models.CharField(max_length=255, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    pepper_id = models.CharField(max_length=16, editable=False)

    allowed_networks = models.TextField(
        _("allowed networks"),
        blank=True,
        default="",
        help_text=_("From where it may be used: CIDRs, separated by spaces; empty for anywhere."),
    )
    rate_limits = models.CharField(
        _("rate limits"),
        max_length=200,
        blank=True,
        default="",
        help_text=_("How often it may be used, such as 1000/hour; several separated by spaces."),
    )

    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True, editable=False)
    last_used_on = models.DateField(
        _("day of last use"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("Of UTC, with which the lists find keys by their last use."),
    )
    last_used_ip = models.GenericIPAddressField(
        _("last used from"), null=True, blank=True, editable=False
    )

    direct_use = models.BooleanField(
        _("direct use"),
        default=True,
        help_text=_("Whether requests take it, or only the token endpoint, for an access token."),
    )

    is_pending = models.BooleanField(
        _("awaits approval"),
        default=False,
        editable=False,
        help_text=_("Refused until somebody approves it whom the policy lets."),
    )
    approved_at = models.DateTimeField(_("approved at"), null=True, blank=True, editable=False)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("approved by"),
    )

    minted_with = models.CharField(
        _("made with"),
        max_length=40,
        blank=True,
        editable=False,
        db_index=True,
        help_text=_("The id of the credential that made it over the API, and that it ends with."),
    )
    replaces = models.OneToOneField(
        "self",
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="replaced_by",
        verbose_name=_("replaces"),
    )
    rotated_at = models.DateTimeField(_("rotated at"), null=True, blank=True, editable=False)

    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True, editable=False)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("revoked by"),
    )
    revoked_reason = models.CharField(
        _("reason of revocation"), max_length=200, blank=True, editable=False
    )

    class Meta:
        abstract = True
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that the key was given, sorted, without implied ones."""
        return scopes.split(self.scope)

    def state(self, now: datetime | None = None) -> State:
        """Where the key is in its life, now or at another moment."""
        if self.revoked_at is not None:
            return State.REVOKED
        if self.expires_at is not None and self.expires_at <= (now or timezone.now()):
            return State.EXPIRED
        return State.PENDING if self.is_pending else State.LIVE

    @property
    def successor(self) -> "AbstractKey | None":
        """The key that this one was rotated into."""
        return getattr(self, "replaced_by", None)

    @property
    def former(self) -> Any:
        """The ``LegacyKey`` of a key that was imported; ``None`` for all others."""
        return getattr(self, "legacy", None)

    def chain(self) -> "list[AbstractKey]":
        """All keys that came of one another by rotation, oldest first."""
        newest: AbstractKey = self
        while newest.successor is not None:
            newest = newest.successor
        return [*newest.predecessors()[::-1], newest]

    def predecessors(self) -> "list[AbstractKey]":
        """The keys that this one came of by rotation, newest first. A query each."""
        keys: list[AbstractKey] = []
        older = self.replaces
        while older is not None:
            keys.append(older)
            older = older.replaces
        return keys


_STATE = ("revoked_at", "is_pending", "expires_at")


def _indexes(prefix: str, owner: str) -> list[models.Index]:
    """What lists of an owner's keys, and of all, sort and search by; see ``apikeys.states``.

    Nothing that each use of a key changes: an index on ``last_used_at`` would make PostgreSQL
    renew every index entry of the row at each write of it. ``last_used_on`` does so once a day.
    """
    return [
        # Newest first, page by page, however many an owner has; and past those in another state
        # without a look at their rows.
        models.Index(fields=[owner, "id", *_STATE], name=f"{prefix}_of_{owner}"),
        models.Index(fields=[owner, *_STATE], name=f"{prefix}_of_{owner}_state"),
        models.Index(fields=_STATE, name=f"{prefix}_state"),
        models.Index(fields=["created_at", "id", *_STATE], name=f"{prefix}_created"),
        models.Index(fields=["last_used_on", "created_at"], name=f"{prefix}_used"),
        models.Index(fields=["expires_at"], name=f"{prefix}_expires"),
        # So that PostgreSQL uses it for LIKE 'prefix%', whatever the collation.
        models.Index(fields=["name"], name=f"{prefix}_name", opclasses=["varchar_pattern_ops"]),
    ]


class PersonalAccessToken(AbstractKey):
    """Acts on behalf of a user: its scopes, within what the user may do now."""

    KIND = token.PAT

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="personal_access_tokens",
        verbose_name=_("user"),
    )
    all_projects = models.BooleanField(
        _("all projects"),
        default=True,
        help_text=_("Whether it reaches every project of its user, or only those selected."),
    )
    projects: "models.ManyToManyField[Any, Any]" = models.ManyToManyField(
        project_model(),
        blank=True,
        related_name="+",
        verbose_name=_("projects"),
    )

    class Meta(AbstractKey.Meta):
        abstract = False
        verbose_name = _("personal access token")
        verbose_name_plural = _("personal access tokens")
        indexes = _indexes("apikeys_tokens", "user")

    @property
    def owner(self) -> models.Model:
        """The user on whose behalf it acts."""
        return self.user


class ProjectKey(AbstractKey):
    """Belongs to a project, not to a person: it outlives whoever made it."""

    KIND = token.KEY

    project = models.ForeignKey(
        project_model(),
        models.CASCADE,
        related_name="project_keys",
        verbose_name=_("project"),
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("created by"),
    )
    public_key = models.CharField(
        _("public key"),
        max_length=255,
        blank=True,
        default="",
        editable=False,
        help_text=_("In PEM: requests are signed with its other half, and there is no secret."),
    )

    class Meta(AbstractKey.Meta):
        abstract = False
        verbose_name = _("project key")
        verbose_name_plural = _("project keys")
        indexes = _indexes("apikeys_keys", "project")

    @property
    def owner(self) -> models.Model:
        """The project that it belongs to."""
        return self.project


#: The model of each kind of key, by ``apikeys.token``'s word for it.
KEY_MODELS: dict[str, type[PersonalAccessToken] | type[ProjectKey]] = {
    PersonalAccessToken.KIND: PersonalAccessToken,
    ProjectKey.KIND: ProjectKey,
}


class AbstractUsage(models.Model):
    """How many requests a key made on a day (of UTC)."""

    day = models.DateField()
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.count} on {self.day}"


class PersonalAccessTokenUsage(AbstractUsage):
    """How many requests a personal access token made on a day."""

    # No constraint: a count that is written just after its key was deleted harms nobody.
    key = models.ForeignKey(
        PersonalAccessToken, models.CASCADE, related_name="usage", db_constraint=False
    )

    class Meta(AbstractUsage.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(fields=["key", "day"], name="apikeys_token_usage_once")
        ]


class ProjectKeyUsage(AbstractUsage):
    """How many requests a project key made on a day."""

    key = models.ForeignKey(ProjectKey, models.CASCADE, related_name="usage", db_constraint=False)

    class Meta(AbstractUsage.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(fields=["key", "day"], name="apikeys_key_usage_once")
        ]
