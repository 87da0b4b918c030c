from datetime import datetime
from typing import Any, ClassVar, TypeVar, cast

from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from .. import restrictions, scopes, token
from ..conf import project_model
from ..databases.primary import PrimaryManager, reading_primary
from . import endings
from .approvals import Approvals
from .chains import chains
from .lifetimes import Lifetime
from .metadata import Metadata
from .pauses import Pauses
from .texts import TEXTS, Texts


class State(models.TextChoices):
    """State of a key. Requests with a key in any state but ``LIVE`` are refused."""

    LIVE = "live", _("active")
    PENDING = "pending", _("pending approval")
    PAUSED = "paused", _("paused")
    EXPIRED = "expired", _("expired")
    REVOKED = "revoked", _("revoked")


def live(now: datetime | None = None) -> models.Q:
    """Match keys that are neither revoked nor expired."""
    unexpired = models.Q(expires_at=None) | models.Q(expires_at__gt=now or timezone.now())
    return models.Q(revoked_at=None) & unexpired


def reaching_only(projects: models.QuerySet[Any, Any]) -> models.Q:
    """Match tokens whose selected projects are all among ``projects``."""
    field = PersonalAccessToken._meta.get_field("projects")
    beyond = PersonalAccessToken.projects.through._default_manager.exclude(
        **{f"{field.m2m_reverse_field_name()}__in": projects}
    )
    tokens = beyond.values(field.m2m_field_name())
    return models.Q(all_projects=False) & ~models.Q(pk__in=tokens)


class AbstractKey(Texts, Lifetime, Approvals, Pauses, Metadata, restrictions.Columns):
    """Base class of both kinds of key. Stores a secret only as a root and a digest."""

    KIND: ClassVar[str]
    #: Whether a key can be limited to some projects of its owner.
    SELECTS_PROJECTS: ClassVar[bool]
    #: Whether a key can have a public key, or trust a workload, in place of a secret.
    TAKES_PUBLIC_KEY: ClassVar[bool]

    public_id = models.CharField(
        _("ID"), max_length=token.ID_LENGTH, unique=True, default=token.generate_id, editable=False
    )
    scope = models.TextField(
        _("scopes"), help_text=_("Names of scopes, separated by spaces (RFC 6749 section 3.3).")
    )

    root = models.CharField(max_length=255, editable=False)
    digest = models.CharField(max_length=64, editable=False)
    pepper_id = models.CharField(max_length=16, editable=False)

    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True, editable=False)
    last_used_on = models.DateField(
        _("day of last use"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("In UTC. Lists use it to filter keys by last use."),
    )
    last_used_ip = models.GenericIPAddressField(
        _("last used from"), null=True, blank=True, editable=False
    )

    minted_with = models.CharField(
        _("created with"),
        max_length=40,
        blank=True,
        editable=False,
        db_index=True,
        help_text=_(
            "The ID of the credential that created this key over the API. Revoking that "
            "credential revokes this key."
        ),
    )
    made_with_token = models.CharField(
        _("created with access token"),
        max_length=40,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text=_(
            "The primary key of the OAuth access token that created this key. Revoking that "
            "token revokes this key."
        ),
    )
    upstream = models.TextField(
        _("upstream"),
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text=_("The users and OAuth clients of the access tokens that created this key."),
    )
    lineage = models.CharField(
        _("lineage"),
        max_length=token.ID_LENGTH,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text=_("The ID of the first key in the chain of keys that created this key."),
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

    objects = PrimaryManager()

    class Meta:
        abstract = True
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.name} ({self.public_id})"

    @property
    def scopes(self) -> tuple[str, ...]:
        """The granted scopes, sorted, without implied scopes."""
        return scopes.split(self.scope)

    @property
    def secret_ends_at(self) -> datetime | None:
        """When the secret of a converted key stops working; ``None`` for other keys."""
        return endings.ends_of(self.pepper_id)

    def state(self, now: datetime | None = None) -> State:
        """Return the state of the key, now or at another time."""
        if self.revoked_at is not None:
            return State.REVOKED
        if (ends := self.ends_at()) is not None and ends <= (now or timezone.now()):
            return State.EXPIRED
        if self.is_pending:
            return State.PENDING
        return State.LIVE if self.paused_at is None else State.PAUSED

    def state_label(self, now: datetime | None = None) -> Any:
        """Return the word for the state. A key that was revoked by a rejection is *rejected*."""
        state = self.state(now)
        return _("rejected") if self.is_rejected and state is State.REVOKED else state.label

    @property
    @reading_primary()
    def successor(self) -> "AbstractKey | None":
        """The key that replaced this one, by a rotation or after its end."""
        return getattr(self, "replaced_by", None)

    @property
    @reading_primary()
    def former(self) -> Any:
        """The ``LegacyKey`` of an imported key, or ``None``."""
        return getattr(self, "legacy", None)

    @reading_primary()
    def chain(self) -> "list[AbstractKey]":
        """Return all keys of the rotation chain, oldest first."""
        return [*self.predecessors()[::-1], self, *self.successors()]

    @reading_primary()
    def predecessors(self, most: int | None = None) -> "list[AbstractKey]":
        """Return the predecessors of this key, newest first. Two queries per 500 keys."""
        is_first = self.__dict__.get("replaces_id", self) is None  # may be deferred
        return [] if is_first else chains([self], most=most)[self.pk]

    @reading_primary()
    def successors(self, most: int | None = None) -> "list[AbstractKey]":
        """Return the successors of this key, oldest first. Two queries per 500 keys."""
        return chains([self], newer=True, most=most)[self.pk]


_STATE = ("revoked_at", "is_pending", "expires_at")


def _indexes(prefix: str, owner: str) -> list[models.Index]:
    """Return the indexes that lists of keys sort and search by. See ``apikeys.keys.queries``.

    No index covers a column that each use writes. An index on ``last_used_at`` would make
    PostgreSQL update every index entry of the row at each use. ``last_used_on`` changes once a
    day.
    """
    return [
        # Newest first, page by page, for any number of keys. The index skips keys in another
        # state without reading their rows.
        models.Index(fields=[owner, "id", *_STATE], name=f"{prefix}_of_{owner}"),
        models.Index(fields=[owner, *_STATE], name=f"{prefix}_of_{owner}_state"),
        models.Index(fields=_STATE, name=f"{prefix}_state"),
        models.Index(fields=["created_at", "id", *_STATE], name=f"{prefix}_created"),
        models.Index(fields=["last_used_on", "created_at"], name=f"{prefix}_used"),
        models.Index(fields=["expires_at"], name=f"{prefix}_expires"),
        models.Index(fields=["paused_at"], name=f"{prefix}_paused"),
        models.Index(fields=["paused_by"], name=f"{prefix}_paused_by"),  # for deleting a user
        # Find the keys that end with a credential.
        models.Index(fields=["made_with_token"], name=f"{prefix}_made_with"),
        models.Index(fields=["lineage"], name=f"{prefix}_lineage"),
        # Lets PostgreSQL use the index for LIKE 'prefix%' with any collation.
        *(
            models.Index(fields=[name], name=f"{prefix}_{name}", opclasses=["varchar_pattern_ops"])
            for name in TEXTS
        ),
    ]


def _owner(key: models.Model, name: str) -> models.Model:
    """Return the owner of ``key``, even if the base manager of its model hides the row."""
    try:
        return cast("models.Model", getattr(key, name))
    except ObjectDoesNotExist:
        field: Any = key._meta.get_field(name)
        rows: Any = models.QuerySet(field.related_model, using=key._state.db)
        owner: models.Model = rows.get(pk=getattr(key, field.attname))
        field.set_cached_value(key, owner)
        return owner


class PersonalAccessToken(AbstractKey):
    """A token that acts for a user, within its scopes and what the user may do today."""

    KIND = token.PAT
    SELECTS_PROJECTS = True
    TAKES_PUBLIC_KEY = False
    #: Name of the relation to the owner.
    OWNER = "user"
    #: Always empty: a token has a secret.
    public_key = ""
    trust = ""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        related_name="personal_access_tokens",
        verbose_name=_("user"),
    )
    all_projects = models.BooleanField(
        _("all projects"),
        default=True,
        help_text=_(
            "Whether the token reaches every project of its user, or only the selected projects."
        ),
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

    @reading_primary()
    def reach(self) -> list[Any] | None:
        """The selected projects, or ``None`` for all projects of the user."""
        return None if self.all_projects else list(self.projects.all())

    @property
    @reading_primary()
    def owner(self) -> models.Model:
        """The user of the token."""
        return _owner(self, "user")


class ProjectKey(AbstractKey):
    """A key that belongs to a project and keeps working when its creator leaves."""

    KIND = token.KEY
    SELECTS_PROJECTS = False
    TAKES_PUBLIC_KEY = True
    #: Name of the relation to the owner.
    OWNER = "project"
    #: Always true: a key reaches its one project.
    all_projects = True

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
        help_text=_(
            "In PEM format. Requests are signed with the private key, and the key has no secret."
        ),
    )
    trust = models.TextField(
        _("trust"),
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text=_(
            "As JSON: the issuer, the audience and the claims of the workload that may use the "
            "key. The key has no secret."
        ),
    )
    #: A digest of the issuer and the claim that identifies the workload. A token finds the key
    #: by it.
    trust_anchor = models.CharField(
        max_length=64, blank=True, default="", db_default="", editable=False
    )

    class Meta(AbstractKey.Meta):
        abstract = False
        verbose_name = _("project key")
        verbose_name_plural = _("project keys")
        indexes = [
            *_indexes("apikeys_keys", "project"),
            models.Index(fields=["trust_anchor"], name="apikeys_keys_trust"),
        ]

    def reach(self) -> list[Any] | None:
        """The project of the key, as a list of one."""
        return [self.project]

    @property
    @reading_primary()
    def owner(self) -> models.Model:
        """The project that owns the key."""
        return _owner(self, "project")


#: A key of either kind.
AnyKey = PersonalAccessToken | ProjectKey
#: Type variable for a key of either kind.
K = TypeVar("K", bound=AnyKey)

#: Model by kind: the constants are in ``apikeys.token``.
KEY_MODELS: dict[str, type[AnyKey]] = {
    PersonalAccessToken.KIND: PersonalAccessToken,
    ProjectKey.KIND: ProjectKey,
}
