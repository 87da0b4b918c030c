"""Read the keys in the tables of other packages.

Tables are read in pages to limit memory. The pages are never filtered by a column with a secret,
because the database may log its queries. Only ``find`` filters by such a column, if the table
stores its keys in clear text: it reads what a request presented, as the package itself does.
"""

import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import router
from django.utils import timezone

from ..conf import slug_field
from ..errors import LifecycleError
from ..legacy import options, texts
from ..models import get_project_model
from ..models.owners import is_active

CHUNK: Final = 500  # rows in memory at a time


class Skip(Exception):  # noqa: N818 - an outcome, not an error
    """A key is not imported. ``reason`` is for programs, ``detail`` for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass
class Candidate:
    """A key to import. ``repr`` omits its text, hash and prefix."""

    #: The name of the key in the report. Contains nothing of the secret.
    where: str
    name: str = ""
    user: Any = None
    project: Any = None
    #: Projects, or their slugs, that a user's key is restricted to; empty for no restriction.
    projects: list[Any] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    created_at: datetime | None = None
    expires_at: datetime | None = None
    #: Restrictions of the key, as the model stores them.
    restrictions: dict[str, Any] = field(default_factory=dict)
    #: The whole key if the package stored it; otherwise empty, and ``hash`` is set.
    text: str = field(default="", repr=False)
    hash: str = field(default="", repr=False)
    prefix: str = field(default="", repr=False)
    #: Why the key cannot be imported; ``None`` if it can.
    skip: Skip | None = None


@dataclass(frozen=True)
class Shape:
    """How the table of a site differs from that of the package."""

    #: ``app_label.ModelName``; empty for the package's own model.
    model: str = ""
    #: The name of a field in this table, by its name in the package: ``{"key": "token"}``.
    fields: Mapping[str, str] = field(default_factory=dict)
    #: The path to the user or the project that owns a key, such as ``account.user``.
    owner: str = ""


class Source:
    """A table with keys of another package."""

    #: The name of the package in ``LEGACY``.
    SCHEME = ""
    MODEL = ""
    #: The fields that the table needs, by their names in the package.
    FIELDS: tuple[str, ...] = ()
    #: The fields that it may have.
    OPTIONAL: tuple[str, ...] = ()
    #: The field with the owner; empty if the package has none.
    OWNER = "user"

    def __init__(self, shape: Shape | None = None) -> None:
        self.shape = shape or Shape()
        self.owner = self.shape.owner.replace("__", ".") or self._name(self.OWNER)
        self.model = self._model()

    def read(self) -> Iterator[Candidate]:
        """Yield a candidate for each key in the table."""
        for row in _pages(self._rows(), self.paged_by()):
            yield _checked(self.candidate(row))

    def find(self, text: str) -> Candidate | None:
        """Return the candidate of the key ``text``, if the table has it now. One query.

        A candidate with a slow hash only has the prefix of ``text``.
        """
        for row in self.rows_of(text)[:_ALIKE]:
            candidate = self.candidate(row)
            if self.is_of(candidate, text):
                return _checked(candidate)
        return None

    def candidate(self, row: Any) -> Candidate:
        raise NotImplementedError

    def rows_of(self, text: str) -> Any:
        """Return the rows that may have the key ``text``."""
        raise NotImplementedError

    def is_of(self, candidate: Candidate, text: str) -> bool:
        """Return whether ``text`` is the key of ``candidate``. A slow hash is checked later."""
        if candidate.text:  # a collation may ignore case
            return hmac.compare_digest(candidate.text.encode(), text.encode())
        if (hook := options.hook_of(self.SCHEME)) is not None:
            return hmac.compare_digest(candidate.hash.encode(), hook(text).encode())
        return texts.is_slow(candidate.hash) or texts.matches(text, candidate.hash)

    def paged_by(self) -> str | None:
        return "pk"

    def get(self, row: Any, name: str) -> Any:
        """Return the value of the package's field ``name``; ``None`` if the table lacks it."""
        return _follow(row, self._name(name))

    def own(self, row: Any, candidate: Candidate) -> Candidate:
        """Set the owner of ``candidate``: a user, a project, or nothing."""
        owner = _follow(row, self.owner) if self.owner else None
        if isinstance(owner, get_user_model()):
            candidate.user = owner
        elif owner is not None:
            candidate.project = _as_project(owner)
        return candidate

    def _name(self, name: str) -> str:
        return self.shape.fields.get(name, name)

    def _rows(self) -> Any:
        rows = self.model._default_manager.using(router.db_for_write(self.model))
        return rows.select_related(self.owner.replace(".", "__")) if self.owner else rows.all()

    def _model(self) -> Any:
        names = (*self.FIELDS, *self.OPTIONAL)
        if unknown := sorted(set(self.shape.fields) - set(names)):
            message = f"Unknown field {unknown[0]!r}. Available: {', '.join(names)}."
            raise LifecycleError("unknown_field", message, "field")
        wanted = [
            self._name(name) for name in self.FIELDS if name != self.OWNER or not self.shape.owner
        ]
        wanted += [self._name(name) for name in self.OPTIONAL if name in self.shape.fields]
        model = model_of(self.shape.model or self.MODEL, *wanted)
        if self.owner:
            _check_path(model, self.owner)
        return model


#: Rows whose keys differ only in case, at most.
_ALIKE: Final = 10


def _follow(row: Any, path: str) -> Any:
    for name in path.split("."):
        row = getattr(row, name, None)
    return row


def _check_path(model: Any, path: str) -> None:
    of = model
    for name in path.split("."):
        try:
            of = of._meta.get_field(name).related_model
        except (FieldDoesNotExist, AttributeError):
            of = None
        if of is None:
            message = f"{model._meta.label} has no foreign key {path!r}."
            raise LifecycleError("unknown_field", message, "owner")


def model_of(label: str, *fields: str) -> Any:
    """Return the model ``label``. Raise ``LifecycleError`` unless it exists and has ``fields``."""
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        app = label.partition(".")[0]
        message = (
            f"The model {label} does not exist. Keep the old package in INSTALLED_APPS until you "
            f"have imported its keys, and check that {app!r} is its app label."
        )
        raise LifecycleError("unknown_model", message, "model") from None
    if missing := [name for name in fields if not hasattr(model, name.partition(".")[0])]:
        message = (
            f"{label} does not have the fields {', '.join(missing)}. Pass --field NAME=FIELD for a "
            "field with another name, and --owner for the user or the project."
        )
        raise LifecycleError("unknown_model", message, "model")
    return model


class AuthToken(Source):
    """The tokens of ``rest_framework.authtoken``, which are stored in clear text.

    A table of another shape may have hashes in place of the texts: its field is ``hash``.
    """

    SCHEME = "authtoken"
    MODEL = "authtoken.Token"
    FIELDS = ("key", "user", "created")
    OPTIONAL = ("name", "expires", "scopes")

    def __init__(self, shape: Shape | None = None) -> None:
        self.is_hashed = shape is not None and "hash" in shape.fields
        if self.is_hashed:
            self.FIELDS = ("hash", "user", "created")
        super().__init__(shape)

    def paged_by(self) -> str | None:
        # Do not page by the primary key, which may be the secret. A custom model may allow
        # several tokens for each user; then page by offset.
        if self.owner != "user":
            return None
        return "user_id" if self.model._meta.get_field("user").unique else None

    def _rows(self) -> Any:
        rows = super()._rows()
        return rows if self.paged_by() else rows.order_by(self._name("created"), "pk")

    def rows_of(self, text: str) -> Any:
        if not self.is_hashed:
            column = self.model._meta.get_field(self._name("key"))
            if len(text) > (column.max_length or len(text)):
                return self._rows().none()
            return self._rows().filter(**{column.name: text})
        stored = texts.stored_hashes(text, options.hook_of(self.SCHEME))
        return self._rows().filter(**{f"{self._name('hash')}__in": stored})

    def candidate(self, row: Any) -> Candidate:
        created, expires = self.get(row, "created"), self.get(row, "expires")
        named = self.get(row, "name") if "name" in self.shape.fields else ""
        found = Candidate(
            where=f"token of {created:%Y-%m-%d %H:%M} without an owner",
            name=str(named or f"Token of {created:%Y-%m-%d}"),
            created_at=created,
            expires_at=expires if "expires" in self.shape.fields else None,
            text="" if self.is_hashed else str(self.get(row, "key")),
            hash=str(self.get(row, "hash")) if self.is_hashed else "",
        )
        if "scopes" in self.shape.fields:
            scopes = self.get(row, "scopes") or ()
            found.scopes = scopes.split() if isinstance(scopes, str) else list(scopes)
            if not found.scopes:  # it may do nothing there, so it gets no default
                found.skip = Skip("scope_required", "The key has no scopes in its table.")
        self.own(row, found)
        if found.user is not None:
            found.where = f"token of {found.user.get_username()}"
        elif found.project is not None:
            found.where = f"token of {found.project}, created {created:%Y-%m-%d %H:%M}"
        return found


class Knox(Source):
    """The tokens of ``django-rest-knox`` 4.2 and newer, which are stored as hashes."""

    SCHEME = "knox"
    FIELDS = ("digest", "user", "created", "expiry")

    def __init__(self, shape: Shape | None = None) -> None:
        self.MODEL = _knox_model()
        self.algorithm = _knox_algorithm()
        super().__init__(shape)

    def rows_of(self, text: str) -> Any:
        digests = [each.partition("$")[2] for each in texts.stored_hashes(text, None)]
        return self._rows().filter(**{f"{self._name('digest')}__in": digests})

    def candidate(self, row: Any) -> Candidate:
        created = self.get(row, "created")
        found = Candidate(
            where=f"token without an owner, created {created:%Y-%m-%d %H:%M}",
            name=f"knox token of {created:%Y-%m-%d}",
            created_at=created,
            expires_at=self.get(row, "expiry"),
            hash=f"{self.algorithm}${self.get(row, 'digest')}",
        )
        self.own(row, found)
        if found.user is not None:
            name = found.user.get_username()
            found.where = f"token of {name}, created {created:%Y-%m-%d %H:%M}"
        if getattr(row, "salt", ""):
            found.skip = Skip("unsupported_hash", "The hash is salted (knox before 4.2).")
        return found


def _knox_model() -> str:
    from django.conf import settings

    return str(getattr(settings, "KNOX_TOKEN_MODEL", "knox.AuthToken"))


def _knox_algorithm() -> str:
    try:
        from knox.settings import knox_settings
    except ImportError:
        return "sha512"
    algorithm = knox_settings.SECURE_HASH_ALGORITHM
    # It is a function of hashlib, or a class of `cryptography` in knox 4.2.
    name = getattr(algorithm, "__name__", "").removeprefix("openssl_")
    return str(name).lower().replace("sha3-", "sha3_")


class DRFAPIKey(Source):
    """The keys of ``djangorestframework-api-key``.

    Version 3 stores SHA-512 hashes, older versions Django's password hashes.
    """

    SCHEME = "drf-api-key"
    MODEL = "rest_framework_api_key.APIKey"
    FIELDS = ("prefix", "hashed_key", "name", "created", "expiry_date", "revoked")
    OWNER = ""

    def paged_by(self) -> str | None:
        return self._name("prefix")

    def rows_of(self, text: str) -> Any:
        return self._rows().filter(**{self._name("prefix"): text.partition(".")[0]})

    def candidate(self, row: Any) -> Candidate:
        prefix, name = self.get(row, "prefix"), self.get(row, "name")
        found = Candidate(
            where=f"{prefix} ({name})",
            name=name,
            created_at=self.get(row, "created"),
            expires_at=self.get(row, "expiry_date"),
            hash=self.get(row, "hashed_key").replace("sha512$$", "sha512$", 1),
            prefix=prefix,
        )
        self.own(row, found)
        if self.get(row, "revoked"):
            found.skip = Skip("revoked", "The key was revoked.")
        return found


#: The table of each package whose keys can be imported.
SOURCES: Final[Mapping[str, type[Source]]] = {
    each.SCHEME: each for each in (AuthToken, Knox, DRFAPIKey)
}


def _as_project(owner: Any) -> Any:
    """Return ``owner`` if it is a project; otherwise its slug, to find a project by."""
    if owner is None or isinstance(owner, get_project_model()):
        return owner
    return getattr(owner, slug_field(), None) or getattr(owner, "slug", None)


def _pages(rows: Any, by: str | None) -> Iterator[Any]:
    """Yield ``rows`` with one query per page. Not every database driver can stream a result."""
    if by is None:
        start = 0
        while page := list(rows[start : start + CHUNK]):
            yield from page
            start += CHUNK
        return
    rows = rows.order_by(by)
    page = list(rows[:CHUNK])
    while page:
        yield from page
        page = list(rows.filter(**{f"{by}__gt": getattr(page[-1], by)})[:CHUNK])


def _checked(candidate: Candidate) -> Candidate:
    candidate.skip = candidate.skip or why_not(candidate)
    return candidate


def why_not(candidate: Candidate) -> Skip | None:
    """Return why the other package would refuse the key, or ``None``."""
    ends = candidate.expires_at
    if ends is not None and ends <= timezone.now():
        return Skip("expired", f"The key expired at {ends.isoformat(timespec='seconds')}.")
    if candidate.user is not None and not is_active(candidate.user):
        return Skip("inactive_user", "The user is deactivated.")
    return None
