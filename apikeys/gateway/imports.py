"""Import bindings from a CSV file of any length."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, router

from ..conf import slug_field
from ..databases import transactions
from ..importing.csv_rows import rows
from ..models import get_project_model
from .models import ResourceBinding

COLUMNS: Final = ("user", "project", "kind", "identifier")
_TRIES: Final = 10
_BATCH: Final = 2000  # lines; each batch takes four statements

Owner = tuple[str, Any]  # "user_id" or "project_id", and the primary key


@dataclass
class Outcome:
    """The number of lines that were read, and what became of them."""

    lines: int = 0
    created: int = 0
    existing: int = 0
    wrong: int = 0


class WrongLine(NamedTuple):
    """A line that was skipped, by its number in the file, and why."""

    number: int
    message: str


@dataclass
class _Line:
    number: int
    user: str
    project: str
    kind: str
    identifier: str


@dataclass
class Importer:
    """Read CSV (RFC 4180) with a header of ``COLUMNS`` and create the bindings that are missing.

    Each batch of lines is committed by itself, so you can repeat an interrupted import. It calls
    ``on_progress`` after each batch.
    """

    dry_run: bool = False
    on_progress: Callable[[Outcome], None] = lambda outcome: None
    outcome: Outcome = field(default_factory=Outcome)
    _wrong: list[WrongLine] = field(default_factory=list, init=False)

    def run(self, text: Iterable[str]) -> Iterator[WrongLine]:
        """Save the valid lines, and yield the wrong ones.

        Raise ``LifecycleError`` (``invalid_csv``) if the first line does not name the columns.
        """
        read = rows(text, COLUMNS, ({"user", "project"}, {"kind"}, {"identifier"}))
        while batch := list(islice(read, _BATCH)):
            self._store([line for row in batch if (line := self._line(*row))])
            self.on_progress(self.outcome)
            yield from sorted(self._wrong)
            self._wrong.clear()

    def _line(self, number: int, cells: dict[str, str] | str) -> _Line | None:
        self.outcome.lines += 1
        if isinstance(cells, str):
            self._refuse(number, cells)
            return None
        return _Line(number, **dict.fromkeys(COLUMNS, "") | cells)

    def _refuse(self, number: int, message: str) -> None:
        self.outcome.wrong += 1
        self._wrong.append(WrongLine(number, message))

    def _store(self, batch: list[_Line]) -> None:
        users = _by_name(get_user_model(), get_user_model().USERNAME_FIELD, batch, "user")
        projects = _by_name(get_project_model(), slug_field(), batch, "project")
        wanted: dict[tuple[str, str, Any, Any], ResourceBinding] = {}
        doubles = 0
        for line in batch:
            binding = self._binding(line, users, projects)
            if binding is None:
                continue
            identity = _identity(binding)
            doubles += identity in wanted
            wanted.setdefault(identity, binding)
        created = self._insert(wanted)
        self.outcome.created += created
        self.outcome.existing += len(wanted) - created + doubles

    def _insert(self, wanted: dict[tuple[str, str, Any, Any], ResourceBinding]) -> int:
        """Create the bindings that do not exist yet; return their number."""
        for tries_left in reversed(range(_TRIES)):
            stored = ResourceBinding.objects.using(router.db_for_write(ResourceBinding)).filter(
                kind__in={b.kind for b in wanted.values()},
                identifier__in=[b.identifier for b in wanted.values()],
            )
            there = set(stored.values_list("kind", "identifier", "user_id", "project_id"))
            new = [binding for identity, binding in wanted.items() if identity not in there]
            try:
                if not self.dry_run:
                    _create(sorted(new, key=lambda b: (b.kind, b.identifier)))
            except IntegrityError:
                if not tries_left:
                    raise
                continue  # another import has created some of them: read again
            return len(new)
        raise AssertionError("unreachable")

    def _binding(
        self, line: _Line, users: dict[str, Any], projects: dict[str, Any]
    ) -> ResourceBinding | None:
        binding = ResourceBinding(kind=line.kind, identifier=line.identifier)
        if bool(line.user) == bool(line.project):
            self._refuse(line.number, "Enter either a user or a project.")
            return None
        if line.user:
            name, found, noun = line.user, users, "user"
        else:
            name, found, noun = line.project, projects, "project"
        if name not in found:
            self._refuse(line.number, f"Unknown {noun} {name!r}.")
            return None
        setattr(binding, f"{noun}_id", found[name])
        try:
            binding.clean_fields(exclude=["user", "project", "id", "created_at"])
        except ValidationError as error:
            said = "; ".join(f"{name}: {' '.join(m)}" for name, m in error.message_dict.items())
            self._refuse(line.number, said)
            return None
        return binding


@transactions.retried
def _create(bindings: list[ResourceBinding]) -> None:
    for binding in bindings:
        binding.pk = None  # an earlier attempt may have set it
    with transactions.atomic(ResourceBinding):
        ResourceBinding.objects.bulk_create(bindings)


def _identity(binding: ResourceBinding) -> tuple[str, str, Any, Any]:
    return (binding.kind, binding.identifier, binding.user_id, binding.project_id)


def _by_name(model: Any, field: str, batch: list[_Line], column: str) -> dict[str, Any]:
    names = {getattr(line, column) for line in batch} - {""}
    if not names:
        return {}
    usable = [name for name in names if "\x00" not in name]  # PostgreSQL refuses a NUL
    rows = model._default_manager.filter(**{f"{field}__in": usable})
    return dict(rows.values_list(field, "pk"))
