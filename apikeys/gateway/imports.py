"""A list of bindings, of any length, into the database."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction

from ..models import get_project_model
from ..tables import rows
from .models import ResourceBinding

COLUMNS: Final = ("user", "project", "kind", "identifier")
_BATCH: Final = 2000  # lines; each costs four statements

Owner = tuple[str, Any]  # "user_id" or "project_id", and the primary key


@dataclass
class Outcome:
    lines: int = 0
    created: int = 0
    existing: int = 0
    errors: int = 0


@dataclass
class _Line:
    number: int
    user: str
    project: str
    kind: str
    identifier: str


@dataclass
class Importer:
    """Reads CSV (RFC 4180) with a header of ``COLUMNS`` and makes what is not there yet.

    Wrong lines are told to ``on_error`` by number and left out; all others are stored, in
    batches of their own, so that an import that was interrupted goes on when it is repeated.
    ``run`` raises ``LifecycleError`` (``invalid_csv``) for a first line that is none.
    """

    on_error: Callable[[int, str], None]
    on_progress: Callable[[Outcome], None] = lambda outcome: None
    dry_run: bool = False
    outcome: Outcome = field(default_factory=Outcome)

    def run(self, text: Iterable[str]) -> Outcome:
        lines = self._lines(text)
        while batch := list(islice(lines, _BATCH)):
            self._store(batch)
            self.on_progress(self.outcome)
        return self.outcome

    def _lines(self, text: Iterable[str]) -> Iterator[_Line]:
        for number, cells in rows(text, COLUMNS, ({"user", "project"}, {"kind"}, {"identifier"})):
            self.outcome.lines += 1
            if isinstance(cells, str):
                self._refuse(number, cells)
            else:
                yield _Line(number, **dict.fromkeys(COLUMNS, "") | cells)

    def _refuse(self, number: int, message: str) -> None:
        self.outcome.errors += 1
        self.on_error(number, message)

    def _store(self, batch: list[_Line]) -> None:
        users = _by_name(get_user_model(), get_user_model().USERNAME_FIELD, batch, "user")
        projects = _by_name(get_project_model(), "slug", batch, "project")
        wanted: dict[tuple[str, str, Any, Any], ResourceBinding] = {}
        doubles = 0
        for line in batch:
            binding = self._binding(line, users, projects)
            if binding is None:
                continue
            identity = _identity(binding)
            doubles += identity in wanted
            wanted.setdefault(identity, binding)
        stored = ResourceBinding.objects.filter(
            kind__in={b.kind for b in wanted.values()},
            identifier__in=[b.identifier for b in wanted.values()],
        )
        there = set(stored.values_list("kind", "identifier", "user_id", "project_id"))
        new = [binding for identity, binding in wanted.items() if identity not in there]
        if not self.dry_run:
            with transaction.atomic():
                ResourceBinding.objects.bulk_create(new, ignore_conflicts=True)
        self.outcome.created += len(new)
        self.outcome.existing += len(wanted) - len(new) + doubles

    def _binding(
        self, line: _Line, users: dict[str, Any], projects: dict[str, Any]
    ) -> ResourceBinding | None:
        binding = ResourceBinding(kind=line.kind, identifier=line.identifier)
        if bool(line.user) == bool(line.project):
            self._refuse(line.number, "It takes a user or a project, one of them.")
            return None
        if line.user:
            name, found, noun = line.user, users, "user"
        else:
            name, found, noun = line.project, projects, "project"
        if name not in found:
            self._refuse(line.number, f"There is no {noun} {name!r}.")
            return None
        setattr(binding, f"{noun}_id", found[name])
        try:
            binding.clean_fields(exclude=["user", "project", "id", "created_at"])
        except ValidationError as error:
            said = "; ".join(f"{name}: {' '.join(m)}" for name, m in error.message_dict.items())
            self._refuse(line.number, said)
            return None
        return binding


def _identity(binding: ResourceBinding) -> tuple[str, str, Any, Any]:
    return (binding.kind, binding.identifier, binding.user_id, binding.project_id)


def _by_name(model: Any, field: str, batch: list[_Line], column: str) -> dict[str, Any]:
    names = {getattr(line, column) for line in batch} - {""}
    if not names:
        return {}
    usable = [name for name in names if "\x00" not in name]  # PostgreSQL takes none
    rows = model._default_manager.filter(**{f"{field}__in": usable})
    return dict(rows.values_list(field, "pk"))
