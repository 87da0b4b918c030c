"""Takes keys over from a predecessor: beside ``lifecycle``, the only writer of keys.

What the policy says of new keys does not bind them, as they go on as they were;
``manage.py apikeys audit-policy`` names those that it would not let be made.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.db import IntegrityError, OperationalError, router, transaction
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import audit, scopes, token
from ..audit import Event
from ..conf import app_settings
from ..lifecycle import MAX_YEAR, LifecycleError, check_expiry
from ..models import AuditEvent, LegacyKey, PersonalAccessToken, ProjectKey, get_project_model
from ..redaction import redact_strictly
from ..signals import key_imported
from . import schemes, texts
from .sources import CHUNK, Candidate, Skip, why_not
from .verify import salt

AnyKey = PersonalAccessToken | ProjectKey

#: What becomes of a candidate; all others are reasons why it is not taken.
IMPORTED: Final = "imported"
THERE: Final = "imported_before"

_TRIES: Final = 3  # of a batch that another import wrote into


class Outcome(NamedTuple):
    """What became of one key, as the report tells it: nothing of its secret."""

    where: str
    outcome: str
    detail: str = ""
    id: str = ""
    owner: str = ""
    weak: bool = False


class Place(NamedTuple):
    """Where the keys of one owner go, as a mapping says."""

    project: Any = None
    scopes: Sequence[str] = ()


@dataclass
class _Prepared:
    candidate: Candidate
    key: AnyKey
    legacy: LegacyKey


@dataclass
class Importer:
    """Takes over what is not there yet, in batches of their own.

    So an import that was interrupted goes on when it is repeated, and changes nothing when it
    was not. ``scopes``, ``projects`` and ``expires_at`` are for keys whose source has none;
    ``places`` says otherwise for single owners or prefixes.
    """

    scheme: str
    scopes: Sequence[str] = ()
    projects: Sequence[Any] = ()
    expires_at: datetime | None = None
    places: Mapping[str, Place] = field(default_factory=dict)
    dry_run: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    weak: int = 0

    def __post_init__(self) -> None:
        self._salt = ""
        self._check_scopes(self.scopes)
        for place in self.places.values():
            self._check_scopes(place.scopes)
        check_expiry(self.expires_at)

    def run(self, candidates: Iterable[Candidate]) -> Iterator[Outcome]:
        """What became of each, as it is written."""
        candidates = iter(candidates)
        while batch := list(islice(candidates, CHUNK)):
            for outcome in self._take(batch):
                self.counts[outcome.outcome] += 1
                self.weak += outcome.weak
                yield outcome

    def _check_scopes(self, names: Sequence[str]) -> None:
        if unknown := scopes.unknown(names):
            message = f"No such scope: {', '.join(sorted(unknown))}."
            raise LifecycleError("unknown_scope", message, "scopes")

    def _take(self, batch: list[Candidate]) -> list[Outcome]:
        self._find_owners(batch)
        prepared, outcomes = [], []
        for candidate in batch:
            try:
                prepared.append(self._prepare(candidate))
            except Skip as skip:
                outcomes.append(_skipped(candidate, skip))
        for _ in range(_TRIES - 1):
            try:
                return outcomes + self._store(prepared)
            except (IntegrityError, OperationalError):
                continue  # another import writes into it, or waits for this one: look again
        return outcomes + self._store(prepared)

    def _find_owners(self, batch: list[Candidate]) -> None:
        """Names -> rows, a query for all users and one for all projects.

        No name is told that is none: it may be a key in the wrong column.
        """
        user_model, project_model = get_user_model(), get_project_model()
        users = _named(user_model, user_model.USERNAME_FIELD, [c.user for c in batch])
        slugs = [slug for c in batch for slug in (c.project, *c.projects)]
        projects = _named(project_model, "slug", slugs)
        for c in batch:
            if isinstance(c.user, str):
                if (user := users.get(c.user)) is None:
                    c.skip = c.skip or Skip("unknown_user", "There is no such user.")
                c.user = user
            wanted = [each for each in (c.project, *c.projects) if isinstance(each, str)]
            for slug in wanted:
                if slug not in projects:
                    c.skip = c.skip or Skip("unknown_project", "There is no such project.")
            if isinstance(c.project, str):
                c.project = projects.get(c.project)
            c.projects = [projects.get(p) if isinstance(p, str) else p for p in c.projects]

    @sensitive_variables("candidate")
    def _prepare(self, candidate: Candidate) -> _Prepared:
        if (skip := candidate.skip or why_not(candidate)) is not None:
            raise skip
        key = self._key(candidate)
        legacy = LegacyKey(scheme=self.scheme)
        try:
            if not candidate.text:
                stored = candidate.hash
                legacy.selector = texts.selector_of_hash(stored, candidate.prefix)
                legacy.hash = stored
            elif not schemes.is_text(candidate.text):
                raise Skip("unusable_text", "No header can hold it: it has a blank, or the like.")
            elif token.holds_key(candidate.text) or token.looks_like_key(
                candidate.text, app_settings.PREFIX
            ):
                raise Skip("unusable_text", "It looks like a key of this app, not of another.")
            elif texts.is_weak(candidate.text):
                hashed = texts.slow(candidate.text, self._salt_of_all())
                legacy.selector, legacy.salt, key.root = hashed.selector, self._salt, hashed.root
            else:
                legacy.selector = texts.selector(candidate.text)
                legacy.hash = texts.fast_hash(candidate.text)
        except ValueError:
            told = "Its hash is of no kind by which a key can be found."
            raise Skip("unsupported_hash", told) from None
        legacy.source = legacy.selector
        return _Prepared(candidate, key, legacy)

    def _salt_of_all(self) -> str:
        self._salt = self._salt or salt()
        return self._salt

    def _key(self, candidate: Candidate) -> AnyKey:
        place = self._place(candidate)
        names = candidate.scopes or place.scopes or self.scopes
        if not names:
            raise Skip("scope_required", "Nothing says which scopes it is to have.")
        if scopes.unknown(names):
            raise Skip("unknown_scope", f"There are these scopes: {', '.join(scopes.declared())}.")
        common = {
            "public_id": token.generate_id(),
            "name": _name(candidate.name),
            "scope": scopes.join(names),
            "created_at": candidate.created_at or timezone.now(),
            "expires_at": self._end(candidate),
        }
        if candidate.user is not None:
            restricted = bool(candidate.projects or place.project or self.projects)
            return PersonalAccessToken(user=candidate.user, all_projects=not restricted, **common)
        project = candidate.project or place.project or next(iter(self.projects), None)
        if project is None:
            raise Skip("project_required", "Nothing says to which project it is to belong.")
        if not getattr(project, "is_active", True):
            raise Skip("inactive_project", "Its project is deactivated.")
        return ProjectKey(project=project, **common)

    def _end(self, candidate: Candidate) -> datetime | None:
        ends = candidate.expires_at
        if ends is not None and ends.year > MAX_YEAR:
            return None  # as people write it who mean never
        return ends or self.expires_at

    def _place(self, candidate: Candidate) -> Place:
        owner = candidate.user
        name = candidate.prefix if owner is None else owner.get_username()
        return self.places.get(name, Place())

    def _reached(self, candidate: Candidate) -> Sequence[Any]:
        place = self._place(candidate)
        return candidate.projects or ([place.project] if place.project else self.projects)

    def _store(self, prepared: list[_Prepared]) -> list[Outcome]:
        names = [each.legacy.selector for each in prepared]
        rows = LegacyKey.objects.using(router.db_for_write(LegacyKey))
        # Before what is there: what another import commits in between is no duplicate.
        taken = set(rows.filter(selector__in=names).values_list("selector", flat=True))
        # As it is known now, if it turned out to be weak at its first use.
        veiled = {v: e.legacy.selector for e in prepared if e.legacy.hash
                  for v in texts.veiled(e.legacy.selector)}  # fmt: skip
        sources = rows.filter(source__in=[*names, *veiled]).values_list("source", "scheme")
        there = {(veiled.get(source, source), scheme) for source, scheme in sources}
        outcomes, new = [], []
        for each in prepared:
            name = each.legacy.selector
            if (name, self.scheme) in there:
                outcomes.append(Outcome(each.candidate.where, THERE))
            elif name in taken:
                told = "Another key has the same text."
                outcomes.append(Outcome(each.candidate.where, "duplicate", told))
            else:
                taken.add(name)
                new.append(each)
                outcomes.append(_imported(each, self.dry_run))
                each.key.pk = each.legacy.pk = None  # what it got at an earlier try
        if new and not self.dry_run:
            with transaction.atomic(using=router.db_for_write(LegacyKey)):
                self._write(new)
        return outcomes

    def _write(self, new: list[_Prepared]) -> None:
        tokens = [each.key for each in new if isinstance(each.key, PersonalAccessToken)]
        PersonalAccessToken.objects.bulk_create(tokens)
        ProjectKey.objects.bulk_create([e.key for e in new if isinstance(e.key, ProjectKey)])
        selected: Any = PersonalAccessToken._meta.get_field("projects")
        through: Any = PersonalAccessToken.projects.through
        names = selected.m2m_field_name(), selected.m2m_reverse_field_name()
        through._default_manager.bulk_create(
            through(**dict(zip(names, (each.key, project), strict=True)))
            for each in new
            if isinstance(each.key, PersonalAccessToken)
            for project in self._reached(each.candidate)
        )
        for each in new:
            field_name = "token" if isinstance(each.key, PersonalAccessToken) else "key"
            setattr(each.legacy, field_name, each.key)
        # In one order, so that of two imports one waits for the other, and not each for each.
        legacies = sorted((each.legacy for each in new), key=lambda legacy: legacy.selector)
        LegacyKey.objects.bulk_create(legacies)
        AuditEvent.objects.bulk_create(
            audit.compose(Event.IMPORTED, each.key, changes=self._facts(each)) for each in new
        )
        for each in new:
            key_imported.send(type(each.key), key=each.key, by=None, using=None, scheme=self.scheme)

    def _facts(self, each: _Prepared) -> dict[str, Any]:
        key = each.key
        facts: dict[str, Any] = {
            "scheme": self.scheme,
            "scopes": list(key.scopes),
            "expires_at": key.expires_at.isoformat() if key.expires_at else None,
        }
        if isinstance(key, PersonalAccessToken):
            reached = sorted(project.slug for project in self._reached(each.candidate))
            facts["projects"] = None if key.all_projects else reached
        return facts


def _named(model: Any, by: str, names: Iterable[Any]) -> dict[str, Any]:
    usable = {name for name in names if isinstance(name, str) and "\x00" not in name}
    if not usable:
        return {}
    rows = model._default_manager.filter(**{f"{by}__in": usable})
    return {getattr(row, by): row for row in rows}


def _name(name: str) -> str:
    """As a key of one's own may be called; a name is no reason not to take a key."""
    limit = int(ProjectKey._meta.get_field("name").max_length or 0)
    clean = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return redact_strictly(clean)[:limit] or "Imported key"


def _owner(key: AnyKey) -> str:
    owner = key.owner
    name = owner.get_username() if hasattr(owner, "get_username") else getattr(owner, "slug", "")
    return str(name)


def _imported(each: _Prepared, dry_run: bool) -> Outcome:
    shown = "" if dry_run else each.key.public_id
    weak = bool(each.legacy.salt)
    told = "Anybody may guess it: rotate it soon." if weak else ""
    return Outcome(each.candidate.where, IMPORTED, told, shown, _owner(each.key), weak)


def _skipped(candidate: Candidate, skip: Skip) -> Outcome:
    return Outcome(candidate.where, skip.reason, skip.detail)
