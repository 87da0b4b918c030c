"""What predecessors stored, one key after the other: their tables, or a CSV file.

They are read in pages, so that memory is bounded, and by nothing that holds a secret: what a
query asks for is in the database's log.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.utils import timezone

from ..lifecycle import LifecycleError
from ..models import get_project_model

CHUNK: Final = 500  # rows in memory at a time


class Skip(Exception):  # noqa: N818 - no error, but an outcome
    """A key is not taken over: a ``reason`` for programs, a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass
class Candidate:
    """A key that may be taken over. ``repr`` leaves its text out."""

    #: How the report names it: never by any of its secret.
    where: str
    name: str = ""
    user: Any = None
    project: Any = None
    #: Slugs or projects to which a user's is restricted; empty for none.
    projects: list[Any] = field(default_factory=list)
    scopes: list[str] = field(default_factory=list)
    created_at: datetime | None = None
    expires_at: datetime | None = None
    #: The whole text, where the predecessor stored that; otherwise its hash.
    text: str = field(default="", repr=False)
    hash: str = field(default="", repr=False)
    prefix: str = field(default="", repr=False)
    #: Why it cannot be taken.
    skip: Skip | None = None


@dataclass(frozen=True)
class Source:
    model: Any
    read: Callable[[], Iterator[Candidate]]


def model_of(label: str, *fields: str) -> Any:
    try:
        model = apps.get_model(label)
    except (LookupError, ValueError):
        app = label.partition(".")[0]
        message = (
            f"There is no model {label}. Keep the old package in INSTALLED_APPS until its keys are "
            f"imported, and see that {app!r} is the label of its app."
        )
        raise LifecycleError("unknown_model", message, "model") from None
    if missing := [name for name in fields if not hasattr(model, name)]:
        message = f"{label} holds no such keys: it has no {', '.join(missing)}."
        raise LifecycleError("unknown_model", message, "model")
    return model


def authtoken(label: str | None) -> Source:
    """``rest_framework.authtoken``: one for each user, stored as plain text."""
    model = model_of(label or "authtoken.Token", "key", "user", "created")
    # Its primary key may be the secret. Of models that let a user have several, any order does.
    by = "user_id" if model._meta.get_field("user").unique else None

    def read() -> Iterator[Candidate]:
        for row in _pages(model._default_manager.select_related("user"), by):
            user = row.user
            yield _checked(
                Candidate(
                    where=f"token of {user.get_username()}",
                    name=f"Token of {row.created:%Y-%m-%d}",
                    user=user,
                    created_at=row.created,
                    text=row.key,
                )
            )

    return Source(model, read)


def knox(label: str | None) -> Source:
    """``django-rest-knox`` 4.2 and newer: an unsalted hash of the text, or of its bytes."""
    model = model_of(label or _knox_model(), "digest", "user", "created", "expiry")
    algorithm = _knox_algorithm()

    def read() -> Iterator[Candidate]:
        for row in _pages(model._default_manager.select_related("user"), "pk"):
            candidate = Candidate(
                where=f"token of {row.user.get_username()}, made {row.created:%Y-%m-%d %H:%M}",
                name=f"knox token of {row.created:%Y-%m-%d}",
                user=row.user,
                created_at=row.created,
                expires_at=row.expiry,
                hash=f"{algorithm}${row.digest}",
            )
            if getattr(row, "salt", ""):
                candidate.skip = Skip("unsupported_hash", "It is salted, as before knox 4.2.")
            yield _checked(candidate)

    return Source(model, read)


def _knox_model() -> str:
    from django.conf import settings

    return str(getattr(settings, "KNOX_TOKEN_MODEL", "knox.AuthToken"))


def _knox_algorithm() -> str:
    try:
        from knox.settings import knox_settings
    except ImportError:
        return "sha512"
    algorithm = knox_settings.SECURE_HASH_ALGORITHM
    # A function of hashlib; knox 4.2 has a class of `cryptography`.
    name = getattr(algorithm, "__name__", "").removeprefix("openssl_")
    return str(name).lower().replace("sha3-", "sha3_")


def drf_api_key(label: str | None, project_field: str | None) -> Source:
    """``djangorestframework-api-key``: SHA-512 from its version 3 on, a password's hash before."""
    model = model_of(
        label or "rest_framework_api_key.APIKey",
        *("prefix", "hashed_key", "name", "created", "expiry_date", "revoked"),
    )
    if project_field:
        try:
            related = model._meta.get_field(project_field).related_model
        except FieldDoesNotExist:
            related = None
        if related is None:
            message = f"{model._meta.label} has no foreign key {project_field!r}."
            raise LifecycleError("unknown_field", message, "project_field")

    def read() -> Iterator[Candidate]:
        rows = model._default_manager.all()
        if project_field:
            rows = rows.select_related(project_field)
        for row in _pages(rows, "prefix"):
            candidate = Candidate(
                where=f"{row.prefix} ({row.name})",
                name=row.name,
                created_at=row.created,
                expires_at=row.expiry_date,
                hash=row.hashed_key.replace("sha512$$", "sha512$", 1),
                prefix=row.prefix,
            )
            if project_field:
                candidate.project = _as_project(getattr(row, project_field))
            if row.revoked:
                candidate.skip = Skip("revoked", "It was revoked.")
            yield _checked(candidate)

    return Source(model, read)


def _as_project(owner: Any) -> Any:
    """The owner itself where it is a project; otherwise its slug, by which one is found."""
    if owner is None or isinstance(owner, get_project_model()):
        return owner
    return getattr(owner, "slug", None)


def _pages(rows: Any, by: str | None) -> Iterator[Any]:
    """A query each, from where the last one ended: not every driver reads a result by and by."""
    if by is None:
        rows, start = rows.order_by("user_id", "created"), 0
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
    """What the predecessor would refuse, too."""
    ends = candidate.expires_at
    if ends is not None and ends <= timezone.now():
        return Skip("expired", f"It expired at {ends.isoformat(timespec='seconds')}.")
    if candidate.user is not None and not candidate.user.is_active:
        return Skip("inactive_user", "Its user is deactivated.")
    return None
