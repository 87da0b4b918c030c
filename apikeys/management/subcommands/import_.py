from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections, router

from ...conf import app_settings
from ...errors import LifecycleError
from ...importing import csv_keys, csv_rows, live, sources
from ...importing.importer import IMPORTED, THERE, Importer, Outcome, Place
from ...importing.sources import Candidate
from ...legacy.options import live_of
from ...legacy.schemes import HEADERS
from ...models import LegacyKey
from .. import arguments
from ..progress import open_text, position, progress, size_of
from ..terminal import Terminal

HELP = "Import keys from another package or a CSV file. They keep working as they are."
MORE = (
    "Keys that were imported before stay as they are, so you can repeat an import that was "
    "interrupted. The setting LEGACY says in which header the keys are accepted, and until when."
)

_SHOWN = 100  # keys with a problem, to people
_MAPPING = ("key", "project", "scopes")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--from",
        dest="scheme",
        required=True,
        choices=[*HEADERS],
        help="The package that created the keys, or csv.",
    )
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="With --from csv: a path, or - for standard input."
    )
    parser.add_argument("--dry-run", action="store_true", help="Check all keys and store nothing.")
    parser.add_argument(
        "--scope",
        metavar="SCOPE",
        action="append",
        help="A scope of keys whose source names none. Repeat the option for several.",
    )
    parser.add_argument(
        "--project",
        metavar="SLUG",
        action="append",
        help="The owner of keys that have no user. For keys of users, a project that they may "
        "access. Repeat the option for several.",
    )
    parser.add_argument(
        "--map",
        metavar="FILE",
        help="The project and scopes of single keys: a CSV file with the columns key, project and "
        "scopes. `key` is the prefix of a drf-api-key, or a username.",
    )
    parser.add_argument(
        "--expires",
        metavar="WHEN",
        help="When keys without an expiry expire, as for mint (default: never).",
    )
    parser.add_argument(
        "--model", metavar="APP.MODEL", help="The model of the keys, if it is your own."
    )
    parser.add_argument(
        "--field",
        metavar="NAME=FIELD",
        action="append",
        help="A field of --model that has another name than in the package, such as key=token. "
        "Repeat the option for several. For authtoken, hash=FIELD names hashes in place of keys.",
    )
    parser.add_argument(
        "--owner",
        "--project-field",
        dest="owner",
        metavar="NAME",
        help="With --model: the path to the user or project that owns a key, such as account.user, "
        "or to an object with the slug of a project. Keys without an owner go to --project.",
    )


def handle(
    terminal: Terminal,
    *,
    scheme: str,
    file: str | None,
    dry_run: bool,
    scope: list[str] | None,
    project: list[str] | None,
    map: str | None,  # noqa: A002
    expires: str | None,
    model: str | None,
    field: list[str] | None,
    owner: str | None,
    **options: Any,
) -> None:
    _check_arguments(scheme, file, model, field, owner)
    projects = [arguments.find_project(slug) for slug in project or ()]
    if scheme == "drf-api-key" and len(projects) > 1:
        message = "A project key belongs to one project. Give one --project, or a --map."
        raise LifecycleError("several_projects", message, "project")
    importer = Importer(
        scheme,
        scopes=arguments.words(scope),
        projects=projects,
        expires_at=None if expires is None else arguments.expiry(expires),
        places=_read_places(map) if map else {},
        dry_run=dry_run,
    )
    with ExitStack() as stack:
        shape = sources.Shape(model or "", _fields(field or ()), owner or "")
        candidates, total, where = _open(stack, scheme, file, shape)
        advance = stack.enter_context(progress("keys", total))
        _report(terminal, importer, _watched(importer.run(candidates), advance, where))
    if live_of(scheme) is not None and not dry_run:
        gone = live.sweep(scheme)
        terminal.notes.line(f"Revoked {gone:,} imported keys that {scheme} no longer has.")
    if scheme not in app_settings.LEGACY:
        terminal.notes.line(
            f"`BearerAuthentication` refuses these keys until the setting LEGACY names {scheme!r}."
        )


def _check_arguments(
    scheme: str, file: str | None, model: str | None, field: list[str] | None, owner: str | None
) -> None:
    if (scheme == "csv") != (file is not None):
        message = "Give a FILE, or - for standard input, with --from csv and only then."
        raise LifecycleError("invalid_arguments", message, "file")
    for name, given in (("model", model), ("field", field), ("owner", owner)):
        if given and scheme == "csv":
            message = f"--{name} does not apply to --from csv."
            raise LifecycleError("invalid_arguments", message, name)


def _fields(given: Iterable[str]) -> dict[str, str]:
    fields = {}
    for pair in given:
        name, equals, field = pair.partition("=")
        if not (name and equals and field):
            message = f"--field {pair} is not NAME=FIELD, such as key=token."
            raise LifecycleError("invalid_arguments", message, "field")
        fields[name] = field
    return fields


def _open(
    stack: ExitStack, scheme: str, file: str | None, shape: sources.Shape
) -> tuple[Iterable[Candidate], int | None, Any]:
    """Return the candidates, their total, and a function that returns how far they were read."""
    _check_table(LegacyKey)
    if file is not None:
        text = stack.enter_context(_readable(file))
        return csv_keys.read(text), size_of(file), lambda: position(text)
    source = sources.SOURCES[scheme](shape)
    _check_table(source.model)
    return source.read(), source.model._default_manager.count(), lambda: None


def _check_table(model: Any) -> None:
    connection = connections[router.db_for_write(model)]
    if model._meta.db_table not in connection.introspection.table_names():
        message = f"The table of {model._meta.label} is missing. Run `manage.py migrate`."
        raise LifecycleError("not_migrated", message)


def _readable(file: str) -> Any:
    try:
        return open_text(file)
    except OSError as error:
        raise LifecycleError("unreadable", f"{file} cannot be read: {error.strerror}.") from None


def _read_places(file: str) -> dict[str, Place]:
    places = {}
    with _readable(file) as text:
        for number, row in csv_rows.rows(text, _MAPPING, [{"key"}, {"project", "scopes"}]):
            if isinstance(row, str):
                raise LifecycleError("invalid_csv", f"{file}, line {number}: {row}", "map")
            slug, names = row.get("project"), row.get("scopes", "").split()
            places[row["key"]] = Place(arguments.find_project(slug) if slug else None, names)
    return places


def _watched(outcomes: Iterator[Outcome], advance: Any, where: Any) -> Iterator[Outcome]:
    for number, outcome in enumerate(outcomes, start=1):
        if number % 100 == 0:
            advance(number, where())
        yield outcome


def _report(terminal: Terminal, importer: Importer, outcomes: Iterator[Outcome]) -> None:
    # Read the first key before anything is printed, so that a wrong file is one error.
    outcomes = chain(list(islice(outcomes, 1)), outcomes)
    if terminal.as_json:
        keys = (each._asdict() for each in outcomes)
        terminal.json_object("keys", keys, lambda: _facts(importer))
    else:
        verb = "would be imported" if importer.dry_run else "imported"
        _show_problems(terminal, outcomes, verb)
        counts, reasons = importer.counts, _reasons(importer).items()
        skipped = ", ".join(f"{number:,} {reason}" for reason, number in reasons)
        terminal.screen.line(
            f"{counts.total():,} keys: {counts[IMPORTED]:,} {verb} ({importer.weak:,} weak), "
            f"{counts[THERE]:,} imported before, {skipped or 'none skipped'}."
        )
    if "invalid_line" in importer.counts:
        raise CommandError("Some lines are wrong. Correct them and repeat the import.")


def _show_problems(terminal: Terminal, outcomes: Iterator[Outcome], verb: str) -> None:
    """Print the skipped keys and the weak ones. ``verb`` says what happens to an imported key."""
    count = 0
    for each in outcomes:
        if each.outcome in (IMPORTED, THERE) and not each.weak:
            continue
        count += 1
        if count <= _SHOWN:
            outcome = verb if each.outcome == IMPORTED else each.outcome
            terminal.notes.line(f"{each.where}: {outcome}. {each.detail}")
    if count > _SHOWN:
        terminal.notes.line(f"… and {count - _SHOWN:,} more. Use --json to list all.")


def _reasons(importer: Importer) -> dict[str, int]:
    counts = importer.counts
    return {name: counts[name] for name in sorted(counts) if name not in (IMPORTED, THERE)}


def _facts(importer: Importer) -> dict[str, Any]:
    return {
        "scheme": importer.scheme,
        "dry_run": importer.dry_run,
        "read": importer.counts.total(),
        "imported": importer.counts[IMPORTED],
        "weak": importer.weak,
        "imported_before": importer.counts[THERE],
        "skipped": _reasons(importer),
    }
