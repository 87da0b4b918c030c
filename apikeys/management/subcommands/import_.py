from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import connections, router

from ... import tables
from ...conf import app_settings
from ...legacy import csv_file, sources
from ...legacy.importer import IMPORTED, THERE, Importer, Outcome, Place
from ...legacy.schemes import HEADERS
from ...legacy.sources import Candidate
from ...lifecycle import LifecycleError
from ...models import LegacyKey
from .. import arguments
from ..progress import open_text, position, progress, size_of
from ..terminal import Terminal

HELP = "Take over the keys of a predecessor, so that they go on working as they are."
MORE = (
    "What was taken before stays as it is, so an import may be interrupted and repeated. Which "
    "header they are then taken in, and until when, is the setting LEGACY."
)

_TOLD = 100  # that are not taken, one by one, to people
_MAPPING = ("key", "project", "scopes")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--from", dest="scheme", required=True, choices=[*HEADERS])
    parser.add_argument(
        "file", metavar="FILE", nargs="?", help="Of --from csv: a path; - is standard input."
    )
    parser.add_argument("--dry-run", action="store_true", help="Check all, store nothing.")
    parser.add_argument(
        "--scope",
        metavar="SCOPE",
        action="append",
        help="What the keys may be used for, as their source does not say (may be given several "
        "times).",
    )
    parser.add_argument(
        "--project",
        metavar="SLUG",
        action="append",
        help="The project of keys that belong to no one; or one that users' tokens are "
        "restricted to (may be given several times).",
    )
    parser.add_argument(
        "--map",
        metavar="FILE",
        help="A CSV file with the columns key, project, scopes, for single keys: `key` is the "
        "prefix of a drf-api-key, or a user name.",
    )
    parser.add_argument(
        "--expires",
        metavar="WHEN",
        help="When those expire that have no expiry, as for mint; by default never.",
    )
    parser.add_argument(
        "--model", metavar="APP.MODEL", help="The model of the keys, if it is the site's own."
    )
    parser.add_argument(
        "--project-field",
        metavar="NAME",
        help="The foreign key of that model (--from drf-api-key) to the project, or to what has "
        "the slug of one.",
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
    project_field: str | None,
    **options: Any,
) -> None:
    _check_arguments(scheme, file, model, project_field)
    projects = [arguments.find_project(slug) for slug in project or ()]
    if scheme == "drf-api-key" and len(projects) > 1:
        message = "A project key belongs to one project: give one --project, or a --map."
        raise LifecycleError("several_projects", message, "project")
    importer = Importer(
        scheme,
        scopes=arguments.words(scope),
        projects=projects,
        expires_at=arguments.expiry(expires) if expires else None,
        places=_read_places(map) if map else {},
        dry_run=dry_run,
    )
    with ExitStack() as stack:
        candidates, total, where = _open(stack, scheme, file, model, project_field)
        advance = stack.enter_context(progress("keys", total))
        _report(terminal, importer, _watched(importer.run(candidates), advance, where))
    if scheme not in app_settings.LEGACY:
        terminal.notes.line(
            f"The setting LEGACY does not name {scheme!r}: until it does, requests with these keys "
            "are refused."
        )


def _check_arguments(
    scheme: str, file: str | None, model: str | None, project_field: str | None
) -> None:
    if (scheme == "csv") != (file is not None):
        message = "--from csv takes a FILE, and nothing else does; - is standard input."
        raise LifecycleError("invalid_arguments", message, "file")
    if model and scheme == "csv":
        raise LifecycleError("invalid_arguments", "--from csv has no model.", "model")
    if project_field and scheme != "drf-api-key":
        message = "--project-field is for --from drf-api-key."
        raise LifecycleError("invalid_arguments", message, "project_field")


def _open(
    stack: ExitStack, scheme: str, file: str | None, model: str | None, project_field: str | None
) -> tuple[Iterable[Candidate], int | None, Any]:
    """The candidates, of how much they are, and what tells how far they were read."""
    _check_table(LegacyKey)
    if file is not None:
        text = stack.enter_context(_readable(file))
        return csv_file.read(text), size_of(file), lambda: position(text)
    if scheme == "drf-api-key":
        source = sources.drf_api_key(model, project_field)
    else:
        source = (sources.knox if scheme == "knox" else sources.authtoken)(model)
    _check_table(source.model)
    return source.read(), source.model._default_manager.count(), lambda: None


def _check_table(model: Any) -> None:
    connection = connections[router.db_for_read(model)]
    if model._meta.db_table not in connection.introspection.table_names():
        message = f"There is no table of {model._meta.label} yet. Run `manage.py migrate`."
        raise LifecycleError("not_migrated", message)


def _readable(file: str) -> Any:
    try:
        return open_text(file)
    except OSError as error:
        raise LifecycleError("unreadable", f"{file} cannot be read: {error.strerror}.") from None


def _read_places(file: str) -> dict[str, Place]:
    places = {}
    with _readable(file) as text:
        for number, row in tables.rows(text, _MAPPING, [{"key"}, {"project", "scopes"}]):
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
    # Before anything is written: a file that is none is told at its first line.
    outcomes = chain(list(islice(outcomes, 1)), outcomes)
    if terminal.as_json:
        keys = (each._asdict() for each in outcomes)
        terminal.json_object("keys", keys, lambda: _facts(importer))
    else:
        _tell(terminal, outcomes)
        counts, reasons = importer.counts, _reasons(importer).items()
        verb = "would be imported" if importer.dry_run else "imported"
        skipped = ", ".join(f"{number:,} {reason}" for reason, number in reasons)
        terminal.screen.line(
            f"{counts.total():,} keys: {counts[IMPORTED]:,} {verb} ({importer.weak:,} weak), "
            f"{counts[THERE]:,} imported before, {skipped or 'none skipped'}."
        )
    if "invalid_line" in importer.counts:
        raise CommandError("Some lines were wrong; mend them and repeat.")


def _tell(terminal: Terminal, outcomes: Iterator[Outcome]) -> None:
    """Of what people should look at: what is not taken, and what is weak."""
    told = 0
    for each in outcomes:
        if each.outcome in (IMPORTED, THERE) and not each.weak:
            continue
        told += 1
        if told <= _TOLD:
            terminal.notes.line(f"{each.where}: {each.outcome}. {each.detail}")
    if told > _TOLD:
        terminal.notes.line(f"… and {told - _TOLD:,} more; --json tells all.")


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
