"""Create the demo's tokens and keys, whose dates, uses and audit events tell one story.

Every filter of their lists finds one, and every state has one. No one has their secrets. They are
created once, and grow older like the keys of any site.
"""

import hashlib
import secrets
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db.models import QuerySet
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken

from apikeys import audit, lifecycle, moments, reach
from apikeys.audit import Event
from apikeys.lifecycle import sealing
from apikeys.models import (
    AuditEvent,
    EndedUse,
    PersonalAccessToken,
    PersonalAccessTokenUsage,
    ProjectAccess,
    ProjectKey,
    ProjectKeyUsage,
    ScopeUse,
)
from apikeys.oauth import consent
from apikeys.oauth.models import Consent, TokenOrigin
from apikeys.signals import key_minted
from apikeys.token import KIND_NAMES, grant_id

#: The address of every use.
ADDRESS: Final = "203.0.113.7"
WIDE: Final = ("payments:read", "payments:write", "reports:read", "keys:read", "keys:write")
LEDGER_ID: Final = "ledger-sync"

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_USAGE: Final[dict[Any, Any]] = {
    PersonalAccessToken: PersonalAccessTokenUsage,
    ProjectKey: ProjectKeyUsage,
}


@dataclass(frozen=True)
class Used:
    """The uses of a key: the last and the first, ago, and the usual requests of a day with uses."""

    last: timedelta
    first: timedelta
    requests: int = 1
    every: int = 1  # days


@dataclass(frozen=True)
class Made:
    """A token or key. Its times count back from the first run of the demo."""

    name: str
    scopes: tuple[str, ...]
    age: timedelta
    #: ``None`` for no expiry.
    lifetime: timedelta | None = None
    used: Used | None = None
    #: ``revoked``, ``rejected``, ``paused`` or ``pending``, since how long ago, and why.
    state: str = ""
    ago: timedelta = timedelta(0)
    reason: str = ""
    #: Whether it is limited to the project.
    selects: bool = False


READS: Final = ("payments:read",)
PAYS: Final = ("payments:write",)
REPORTS: Final = ("reports:read",)
#: The policy of the demo requires approval of it.
MANAGES: Final = ("keys:write",)

TOKENS: Final = (
    # It used one of its five permissions, for the button *Keep only what it used*.
    Made(
        "Nightly report",
        WIDE,
        118 * _DAY,
        180 * _DAY,
        Used(9 * _HOUR, 117 * _DAY + 9 * _HOUR),
        selects=True,
    ),
    Made("CI tests", READS, 26 * _DAY, 30 * _DAY, Used(2 * _HOUR, 25 * _DAY, 14)),
    Made("Workshop", READS, 70 * _DAY, 90 * _DAY),
    Made("Spreadsheet", REPORTS, 200 * _DAY, None, Used(110 * _DAY, 199 * _DAY, 3, every=7)),
    Made(
        "Travel phone",
        READS,
        100 * _DAY,
        365 * _DAY,
        Used(40 * _DAY, 99 * _DAY, 5, every=2),
        "paused",
        6 * _DAY,
        "It is at the repair shop.",
    ),
    Made("Tax export", REPORTS, 33 * _DAY, 30 * _DAY, Used(4 * _DAY, 32 * _DAY, 2, every=7)),
    Made(
        "Old desktop",
        READS,
        150 * _DAY,
        365 * _DAY,
        Used(22 * _DAY, 149 * _DAY, 8),
        "revoked",
        21 * _DAY,
        "The computer was sold.",
    ),
    Made(
        "Token export",
        (*MANAGES, *REPORTS),
        52 * _DAY,
        90 * _DAY,
        state="rejected",
        ago=51 * _DAY,
        reason="An export needs no permission to change tokens.",
    ),
    Made("Token cleanup", MANAGES, _DAY, 30 * _DAY, state="pending"),
)
KEYS: Final = (
    Made("Web shop", PAYS, 300 * _DAY, None, Used(_HOUR / 3, 299 * _DAY, 120)),
    Made(
        "nightly export",
        READS,
        80 * _DAY,
        None,
        Used(8 * _DAY, 79 * _DAY),
        "paused",
        7 * _DAY,
        "The export moves to another server.",
    ),
    Made("Cash desk", PAYS, 55 * _DAY, 60 * _DAY, Used(_DAY, 54 * _DAY, 31)),
    Made("Warehouse scanner", READS, 170 * _DAY, 190 * _DAY, Used(45 * _DAY, 168 * _DAY, 9)),
    Made("Old accounting", REPORTS, 250 * _DAY, None, Used(120 * _DAY, 249 * _DAY, 4, every=30)),
    Made("Key rotation", MANAGES, 40 * _DAY, None, Used(3 * _DAY, 38 * _DAY, every=7)),
    Made("Test bench", READS, 20 * _DAY, 80 * _DAY),
    Made("Trade fair", READS, 16 * _DAY, 14 * _DAY, Used(5 * _DAY, 9 * _DAY, 60)),
    Made(
        "Former agency",
        REPORTS,
        190 * _DAY,
        None,
        Used(62 * _DAY, 189 * _DAY, 6),
        "revoked",
        60 * _DAY,
        "The contract has ended.",
    ),
    Made(
        "Key export",
        (*MANAGES, *REPORTS),
        15 * _DAY,
        90 * _DAY,
        state="rejected",
        ago=14 * _DAY,
        reason="An export needs no permission to change keys.",
    ),
    Made("Key setup", MANAGES, 2 * _DAY, 90 * _DAY, state="pending"),
)
#: Tokens of charles that ask the owner of his project for approval.
ASKING: Final = (
    Made(
        "Deploy script",
        (*MANAGES, "payments:read"),
        3 * _DAY,
        60 * _DAY,
        state="pending",
        selects=True,
    ),
    Made("Staging keys", MANAGES, 5 * _HOUR, 30 * _DAY, state="pending", selects=True),
)
#: The key that is rotated, and how long ago.
IMPORT: Final = Made(
    "invoice import", PAYS, 90 * _DAY, None, Used(11 * _DAY + 12 * _HOUR, 89 * _DAY, 24)
)
ROTATED: Final = 12 * _DAY
#: The uses of its successor: the first is after the rotation.
SUCCESSOR: Final = Used(3 * _HOUR, 10 * _DAY, 24)
DENIED: Final = Made(
    "Old laptop", READS, 45 * _DAY, 90 * _DAY, Used(12 * _DAY, 44 * _DAY, 7), selects=True
)
#: Tokens that wait for access to the project that requires approval: of grace, and of jean.
AWAITING: Final = Made("Debugger", READS, 2 * _DAY, 30 * _DAY)
ALSO_AWAITING: Final = Made("Profiler", (*READS, *REPORTS), _DAY, 60 * _DAY)
ALLOWED: Final = Made("Build log", READS, 60 * _DAY, 120 * _DAY, Used(6 * _HOUR, 58 * _DAY, 3))


def _part(*about: str) -> float:
    """Return a number from 0 to 1 that is the same in every run for the same names."""
    digest = hashlib.sha256(" ".join(about).encode()).digest()
    return int.from_bytes(digest[:4]) / 2**32


class Past:
    """Collects what happened, and then does it in the order of its times."""

    def __init__(self) -> None:
        self.now = timezone.now()
        self.actions: list[tuple[datetime, Callable[[datetime], None]]] = []
        #: The key whose hashes the others share, because Argon2 is slow.
        self.sealed: Any = None

    def before(self, ago: timedelta, *about: str) -> datetime:
        """Return a time up to ten hours before ``ago``, or exactly then if it was today.

        So what happened on several days did not happen at the same time of the day.
        """
        return self.now - ago - (10 * _HOUR * _part(*about) if ago >= _DAY else timedelta(0))

    def did(self, at: datetime, action: Callable[[datetime], None]) -> None:
        self.actions.append((at, action))

    def run(self) -> None:
        for at, action in sorted(self.actions, key=lambda each: each[0]):
            last = AuditEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
            action(at)
            # The log of a real site cannot be changed like this.
            QuerySet(AuditEvent).filter(pk__gt=last).update(at=at)

    def make(self, made: Made, owner: Any, project: Any, by: Any) -> bool:
        """Plan a key of ``owner``. Return ``False`` if it exists, in whatever state."""
        model: Any = ProjectKey if owner == project else PersonalAccessToken
        rows = model._default_manager.filter(name=made.name, **{model.OWNER: owner})
        if rows.exists():
            return False

        def mint(at: datetime) -> None:
            self._mint(made, model(**{model.OWNER: owner}), project, by, at)

        created = self.before(made.age, made.name, "created")
        self.did(created, mint)
        if made.lifetime is not None and (ends := created + made.lifetime) <= self.now:
            self.did(ends, lambda at: _expire(rows.get(), at))
        if made.used is not None:
            self.use(made.used, made, rows.get, project)
        ended = self.before(made.ago, made.name, made.state)
        if made.state == "paused":
            self.did(ended, lambda at: _pause(rows.get(), made.reason, by, at))
        if made.state == "rejected":
            self.did(ended, lambda at: _reject(rows.get(), made.reason, by, at))
        if made.state == "revoked":
            self.did(ended, lambda at: _revoke(rows.get(), made.reason, by, at))
        return True

    def use(self, used: Used, made: Made, key: Callable[[], Any], project: Any) -> None:
        """Plan the uses of the key that ``key`` returns by then."""
        first = self.before(used.first, made.name, "first")
        last = self.before(used.last, made.name, "last")
        self.did(first, lambda at: _use(key(), made.scopes[0], used, project, at, last))

    def _mint(self, made: Made, key: Any, project: Any, by: Any, at: datetime) -> None:
        if self.sealed is None:
            sealing.sealed(key, None, None)
            self.sealed = key
        for name in ("root", "digest", "pepper_id"):
            setattr(key, name, getattr(self.sealed, name))
        key.name, key.scope = made.name, " ".join(sorted(made.scopes))
        key.created_at, key.is_pending = at, made.state in ("pending", "rejected")
        key.expires_at = at + made.lifetime if made.lifetime is not None else None
        if isinstance(key, ProjectKey):
            key.created_by = by
        else:
            key.all_projects = not made.selects
        key.save()
        if not key.all_projects:
            key.projects.set([project])
        key_minted.send(type(key), key=key, by=by, using=None)


def _pause(key: Any, reason: str, by: Any, at: datetime) -> None:
    lifecycle.pause(key, by=by, reason=reason)
    type(key)._default_manager.filter(pk=key.pk).update(paused_at=at)


def _revoke(key: Any, reason: str, by: Any, at: datetime) -> None:
    lifecycle.revoke(key, by=by, reason=reason)
    type(key)._default_manager.filter(pk=key.pk).update(revoked_at=at)


def _reject(key: Any, reason: str, by: Any, at: datetime) -> None:
    lifecycle.reject(key, by=by, reason=reason)
    type(key)._default_manager.filter(pk=key.pk).update(revoked_at=at)


def _expire(key: Any, at: datetime) -> None:
    # As the daily job would.
    audit.write(Event.EXPIRED, key, at=at, once=f"expired:{key.KIND}:{key.pk}")


def _use(key: Any, scope: str, used: Used, project: Any, first: datetime, last: datetime) -> None:
    """Record all uses of ``key``."""
    days = (last.date() - first.date()).days
    dates = {last.date() - timedelta(days=each) for each in range(0, days + 1, used.every)}
    counts = {day: _requests(key.name, used, day) for day in sorted(dates | {first.date()})}
    model = type(key)
    _USAGE[model].objects.bulk_create(
        _USAGE[model](key=key, day=day, count=count) for day, count in counts.items()
    )
    model._default_manager.filter(pk=key.pk).update(
        last_used_at=last, last_used_on=last.date(), last_used_ip=ADDRESS
    )
    number = sum(counts.values())
    _note(KIND_NAMES[key.KIND], key.public_id, scope, project, first, last, number)
    once = f"first_used:{key.KIND}:{key.pk}"
    audit.write(Event.FIRST_USED, key, at=first, ip=ADDRESS, once=once)


def _requests(name: str, used: Used, day: date) -> int:
    """Return the requests of a day: 60 to 140 percent of the usual ones."""
    return max(1, round(used.requests * (0.6 + 0.8 * _part(name, day.isoformat()))))


def _note(
    kind: str, name: str, scope: str, project: Any, first: datetime, last: datetime, number: int
) -> None:
    ScopeUse.objects.create(
        kind=kind,
        credential=name,
        project_pk=str(project.pk),
        scope=scope,
        first_used_at=first,
        last_used_at=last,
        count=number,
    )


def seed(people: dict[str, Any], projects: dict[str, Any]) -> None:
    """Create what is missing. ``people`` are users by name, ``projects`` by slug."""
    past = Past()
    ada, charles, grace = people["ada"], people["charles"], people["grace"]
    engine, compiler = projects["analytical-engine"], projects["compiler"]
    for made in TOKENS:
        past.make(made, ada, engine, ada)
    for made in KEYS:
        past.make(made, engine, engine, ada)
    if past.make(IMPORT, engine, engine, ada):
        rotated = past.before(ROTATED, IMPORT.name, "rotated")
        past.did(rotated, lambda at: _rotate(engine, ada, at))
        past.did(rotated + _DAY, lambda at: _expire(_imports(engine, is_old=True), at))
        past.did(rotated + 2 * _DAY + _HOUR / 3, lambda at: _use_after_end(engine, at))
        past.use(SUCCESSOR, IMPORT, lambda: _imports(engine, is_old=False), engine)
    if past.make(DENIED, charles, engine, charles):
        denied = past.before(11 * _DAY, DENIED.name, "denied")
        past.did(denied, lambda at: _deny(charles, engine, ada, at))
    for made in ASKING:
        past.make(made, charles, engine, charles)
    past.make(AWAITING, grace, compiler, grace)
    past.make(ALSO_AWAITING, people["jean"], compiler, people["jean"])
    if past.make(ALLOWED, grace, compiler, grace):
        required = past.before(30 * _DAY, ALLOWED.name, "allowed")
        past.did(required, lambda at: _require_approval(grace, compiler, at))
    if not Application.objects.filter(client_id=LEDGER_ID).exists():
        past.did(past.before(45 * _DAY, LEDGER_ID), lambda at: _register(charles, at))
    past.did(past.before(40 * _DAY, LEDGER_ID), lambda at: _authorize(ada, engine, at))
    past.run()


def _imports(project: Any, *, is_old: bool) -> ProjectKey:
    """Return the key that is rotated, or its successor."""
    return ProjectKey.objects.get(project=project, name=IMPORT.name, rotated_at__isnull=not is_old)


def _rotate(project: Any, by: Any, at: datetime) -> None:
    """Rotate the key. The old secret works for another day."""
    old, ends = ProjectKey.objects.get(project=project, name=IMPORT.name), at + _DAY
    new = lifecycle.rotate(old, overlap=_DAY, by=by).key
    ProjectKey.objects.filter(pk=old.pk).update(rotated_at=at, expires_at=ends)
    ProjectKey.objects.filter(pk=new.pk).update(created_at=at)
    event = AuditEvent.objects.get(public_id=old.public_id, event=Event.ROTATED)
    changes = event.changes | {"expires_at": moments.iso(ends)}
    QuerySet(AuditEvent).filter(pk=event.pk).update(changes=changes)


def _use_after_end(project: Any, at: datetime) -> None:
    """Record that a program still uses the old key."""
    old = _imports(project, is_old=True)
    EndedUse.objects.create(
        kind=KIND_NAMES[ProjectKey.KIND],
        public_id=old.public_id,
        code="expired_key",
        first_used_at=at,
        last_used_at=at + 8 * _DAY - 5 * _HOUR,
        first_ip=ADDRESS,
        last_ip=ADDRESS,
        count=3,
    )
    ends = old.expires_at.isoformat() if old.expires_at else ""
    once = f"ended:{old.KIND}:{old.pk}:expired_key:{ends}"
    changes = {"code": "expired_key", "count": 1}
    audit.write(Event.USED_AFTER_END, old, ip=ADDRESS, changes=changes, once=once)


def _deny(user: Any, project: Any, by: Any, at: datetime) -> None:
    key = PersonalAccessToken.objects.get(user=user, name=DENIED.name)
    entry = reach.find(project, key.public_id)
    assert entry is not None  # noqa: S101 - for mypy
    reach.deny(project, entry, by=by, reason="No one knows this laptop.")
    ProjectAccess.objects.filter(project=project, credential=key.public_id).update(at=at)


def _require_approval(user: Any, project: Any, at: datetime) -> None:
    reach.require_approval(project, True, by=user)
    key = PersonalAccessToken.objects.get(user=user, name=ALLOWED.name)
    entry = reach.find(project, key.public_id)
    assert entry is not None  # noqa: S101 - for mypy
    reach.allow(project, entry, by=user)
    ProjectAccess.objects.filter(project=project, credential=key.public_id).update(at=at)


def _register(owner: Any, at: datetime) -> None:
    client = Application.objects.create(
        client_id=LEDGER_ID,
        name="Ledger Sync",
        user=owner,
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="https://ledger.example/callback",
    )
    Application.objects.filter(pk=client.pk).update(created=at)


def _authorize(user: Any, project: Any, at: datetime) -> None:
    """Let the client of another user act for ``user``. It keeps a refresh token."""
    client = Application.objects.get(client_id=LEDGER_ID)
    last = timezone.now() - 2 * _HOUR
    refresh = RefreshToken.objects.filter(application=client, user=user, revoked=None)
    if not refresh.exists():
        given = consent.save(user, client, "payments:read", [project], is_given=True)
        consent.tell(given, [project])
        Consent.objects.filter(pk=given.pk).update(created_at=at)
        facts: dict[str, Any] = {"user": user, "application": client}
        access = AccessToken.objects.create(
            token=secrets.token_urlsafe(32), expires=last, scope="payments:read", **facts
        )
        TokenOrigin.objects.create(access_token=access, consent=given)
        refresh.create(
            token=secrets.token_urlsafe(32), access_token=access, token_family=uuid.uuid4(), **facts
        )
        name = grant_id(client.pk, user.pk)
        if not ScopeUse.objects.filter(credential=name).exists():
            _note("oauth", name, "payments:read", project, at + _HOUR, last, 80)
    # It got its last access token two hours ago, in every run.
    AccessToken.objects.filter(application=client, user=user).update(created=last, expires=last)
    refresh.update(created=last)
