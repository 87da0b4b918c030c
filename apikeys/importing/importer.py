"""Import keys of another package. Only this module and ``lifecycle`` create keys.

The policy for new keys does not apply, because imported keys continue as they were. Run
``manage.py apikeys audit-policy`` to list imported keys that the policy would not allow.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.db import IntegrityError, OperationalError, router
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import audit, moments, restrictions, scopes, token
from ..audit import Event
from ..conf import app_settings, slug_field, slug_of
from ..databases import transactions
from ..errors import LifecycleError
from ..legacy import options, schemes, texts
from ..legacy.verify import salt
from ..lifecycle import MAX_YEAR
from ..lifecycle.cleaning import check_expiry
from ..models import (
    KEY_MODELS,
    AnyKey,
    AuditEvent,
    LegacyKey,
    PersonalAccessToken,
    ProjectKey,
    get_project_model,
    naming,
)
from ..models.owners import is_active
from ..redaction import redact_strictly
from ..restrictions import BY_NAME
from ..restrictions.base import Terms
from ..signals import key_imported
from .sources import CHUNK, Candidate, Skip, why_not

#: Outcomes of a candidate that was not skipped. All other outcomes are reasons to skip it.
IMPORTED: Final = "imported"
THERE: Final = "imported_before"

_TRIES: Final = 3  # attempts at a batch, if another import writes the same keys


class Outcome(NamedTuple):
    """The outcome of one key, for the report. Contains nothing of the secret."""

    where: str
    outcome: str
    detail: str = ""
    id: str = ""
    owner: str = ""
    weak: bool = False


class Place(NamedTuple):
    """The project and scopes for the keys of one owner, from a mapping file."""

    project: Any = None
    scopes: Sequence[str] = ()


@dataclass
class _Prepared:
    candidate: Candidate
    key: AnyKey
    legacy: LegacyKey


@dataclass
class Importer:
    """Import the keys that have not been imported yet.

    Each batch is committed separately, so you can repeat an interrupted import. A completed
    import changes nothing when repeated. ``scopes``, ``projects`` and ``expires_at`` are
    defaults for keys whose source has none. ``places`` overrides them for an owner or prefix.
    Raises ``LifecycleError`` for an unknown scope or an invalid expiry.
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
        """Import ``candidates`` and yield the outcome of each."""
        candidates = iter(candidates)
        while batch := list(islice(candidates, CHUNK)):
            for outcome in self._take(batch):
                self.counts[outcome.outcome] += 1
                self.weak += outcome.weak
                yield outcome

    def _check_scopes(self, names: Sequence[str]) -> None:
        if unknown := scopes.unknown(names):
            message = f"Unknown scope: {', '.join(sorted(unknown))}."
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
                continue  # another import writes the same keys: read again
        return outcomes + self._store(prepared)

    def _find_owners(self, batch: list[Candidate]) -> None:
        """Replace the names of users and projects by their rows, with one query for each.

        The messages never repeat an unknown name: it may be a key in the wrong column.
        """
        user_model, project_model = get_user_model(), get_project_model()
        users = _named(user_model, user_model.USERNAME_FIELD, [c.user for c in batch])
        slugs = [slug for c in batch for slug in (c.project, *c.projects)]
        projects = _named(project_model, slug_field(), slugs)
        for c in batch:
            if isinstance(c.user, str):
                if (user := users.get(c.user)) is None:
                    c.skip = c.skip or Skip("unknown_user", "The user does not exist.")
                c.user = user
            wanted = [each for each in (c.project, *c.projects) if isinstance(each, str)]
            for slug in wanted:
                if slug not in projects:
                    c.skip = c.skip or Skip("unknown_project", "The project does not exist.")
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
                if options.hook_of(self.scheme) is not None:
                    stored = texts.keyed(stored)
                legacy.selector = texts.selector_of_hash(stored, candidate.prefix)
                legacy.hash = stored
            elif not schemes.is_text(candidate.text):
                raise Skip("unusable_text", "The key has characters that a header cannot contain.")
            elif token.holds_key(candidate.text) or token.looks_like_key(
                candidate.text, app_settings.PREFIX
            ):
                raise Skip("unusable_text", "The key looks like a key of this app.")
            elif texts.is_weak(candidate.text):
                hashed = texts.slow(candidate.text, self._salt_of_all())
                legacy.selector, legacy.salt, key.root = hashed.selector, self._salt, hashed.root
            else:
                legacy.selector = texts.selector(candidate.text)
                legacy.hash = texts.fast_hash(candidate.text)
        except ValueError:
            told = (
                "A key cannot be found by this kind of hash. Set VERIFY in LEGACY if it is keyed, "
                "such as an HMAC."
            )
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
            raise Skip("scope_required", "No scopes are set for this key.")
        if scopes.unknown(names):
            raise Skip("unknown_scope", f"Available scopes: {', '.join(scopes.declared())}.")
        common = {
            "public_id": token.generate_id(),
            "name": _name(candidate.name),
            "scope": scopes.join(names),
            "created_at": candidate.created_at or timezone.now(),
            "expires_at": self._end(candidate),
            **candidate.restrictions,
        }
        self._check_restrictions(candidate)
        if candidate.user is not None:
            restricted = bool(candidate.projects or place.project or self.projects)
            return PersonalAccessToken(user=candidate.user, all_projects=not restricted, **common)
        project = candidate.project or place.project or next(iter(self.projects), None)
        if project is None:
            raise Skip("project_required", "No project is set for this key.")
        if not is_active(project):
            raise Skip("inactive_project", "The project is deactivated.")
        if not app_settings.PROJECT_KEYS:
            raise Skip("project_keys_disabled", "This site does not use project keys.")
        return ProjectKey(project=project, **common)

    def _check_restrictions(self, candidate: Candidate) -> None:
        terms = Terms(self._end(candidate), signs=False)
        try:
            for name, value in candidate.restrictions.items():
                BY_NAME[name].check_terms(value, terms)
        except LifecycleError as error:
            raise Skip(error.code, error.message) from None

    def _end(self, candidate: Candidate) -> datetime | None:
        ends = candidate.expires_at
        if ends is not None and ends.year > MAX_YEAR:
            return None  # a far future date means that the key never expires
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
        # Read this first: a key that another import commits in between is not a duplicate.
        taken = set(rows.filter(selector__in=names).values_list("selector", flat=True))
        # The selector of a key that turned out to be weak at its first use was replaced.
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
                each.key.pk = each.legacy.pk = None  # set by an earlier attempt
        if new and not self.dry_run:
            with transactions.atomic(LegacyKey):
                self._write(new)
        return outcomes

    def _write(self, new: list[_Prepared]) -> None:
        for model in KEY_MODELS.values():
            rows: Any = model.objects
            rows.bulk_create([each.key for each in new if type(each.key) is model])
        selected: Any = PersonalAccessToken._meta.get_field("projects")
        through: Any = PersonalAccessToken.projects.through
        names = selected.m2m_field_name(), selected.m2m_reverse_field_name()
        through._default_manager.bulk_create(
            through(**dict(zip(names, (each.key, project), strict=True)))
            for each in new
            if each.key.SELECTS_PROJECTS
            for project in self._reached(each.candidate)
        )
        for each in new:
            field_name = "token" if isinstance(each.key, PersonalAccessToken) else "key"
            setattr(each.legacy, field_name, each.key)
        # Insert in a fixed order, so that parallel imports cannot deadlock.
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
            "expires_at": moments.iso(key.expires_at) if key.expires_at else None,
        }
        restricted = restrictions.nonempty(restrictions.of(key))
        facts |= {restriction.name: restriction.as_json(value) for restriction, value in restricted}
        if key.SELECTS_PROJECTS:
            reached = sorted(slug_of(project) for project in self._reached(each.candidate))
            facts["projects"] = None if key.all_projects else reached
        return facts


def _named(model: Any, by: str, names: Iterable[Any]) -> dict[str, Any]:
    usable = {name for name in names if isinstance(name, str) and "\x00" not in name}
    if not usable:
        return {}
    rows = model._default_manager.filter(**{f"{by}__in": usable})
    return {getattr(row, by): row for row in rows}


def _name(name: str) -> str:
    """Clean a name like that of a new key. An invalid name must not prevent the import."""
    limit = int(ProjectKey._meta.get_field("name").max_length or 0)
    clean = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    clean = redact_strictly(clean)[:limit]
    return clean if naming.is_visible(clean) else "Imported key"


def _owner(key: AnyKey) -> str:
    owner = key.owner
    name = owner.get_username() if hasattr(owner, "get_username") else slug_of(owner)
    return str(name)


def _imported(each: _Prepared, dry_run: bool) -> Outcome:
    shown = "" if dry_run else each.key.public_id
    weak = bool(each.legacy.salt)
    told = "The key is easy to guess. Rotate it soon." if weak else ""
    return Outcome(each.candidate.where, IMPORTED, told, shown, _owner(each.key), weak)


def _skipped(candidate: Candidate, skip: Skip) -> Outcome:
    return Outcome(candidate.where, skip.reason, skip.detail)
