from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser

from ....lifecycle import LifecycleError
from ....management.arguments import add_limit, check_limit, find_project, find_user
from ....management.output import Screen, WritingCommand
from ....management.progress import open_text, position, progress, size_of
from ...imports import COLUMNS, Importer, Outcome
from ...models import ResourceBinding

_TOLD = 100  # errors that are told one by one


class Command(WritingCommand):
    help = "Bindings of the gateway: whose subscriber (or whatever it guards) is whose."

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(
            dest="subcommand", required=True, title="commands", metavar="COMMAND"
        )
        importing = commands.add_parser(
            "import",
            help="Import a CSV file.",
            description=f"Its first line names the columns: {', '.join(COLUMNS)}. Wrong lines "
            "are told by number and left out; what is there already stays as it is, so that it "
            "may be repeated.",
        )
        importing.add_argument("file", metavar="FILE", help="A path; - is standard input.")
        importing.add_argument("--dry-run", action="store_true", help="Check all, store nothing.")

        def takes_binding(parser: Any) -> None:
            parser.add_argument("--user", metavar="USERNAME", help="To whom it is bound.")
            parser.add_argument("--project", metavar="SLUG", help="To which project it is bound.")

        for name, text in (("add", "Bind a resource."), ("remove", "Unbind a resource.")):
            command = commands.add_parser(name, help=text, description=text)
            command.add_argument("kind", metavar="KIND")
            command.add_argument("identifier", metavar="IDENTIFIER")
            takes_binding(command)
        listing = commands.add_parser("list", help="List bindings.", description="Newest first.")
        takes_binding(listing)
        listing.add_argument("--kind", metavar="KIND")
        add_limit(listing, "At most so many (%(default)s).")

    def handle(self, *, subcommand: str, **options: Any) -> None:
        try:
            getattr(self, f"_{subcommand}")(**options)
        except LifecycleError as error:
            raise CommandError(error.message) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error

    def _import(self, *, file: str, dry_run: bool, **options: Any) -> None:
        told = 0

        def on_error(number: int, message: str) -> None:
            nonlocal told
            told += 1
            if told <= _TOLD:
                self.stderr.write(f"Line {number}: {message}", style_func=str)

        try:
            with open_text(file) as text, progress("lines", size_of(file)) as advance:

                def on_progress(outcome: Outcome) -> None:
                    advance(outcome.lines, position(text))

                outcome = Importer(on_error, on_progress, dry_run).run(text)
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}.") from error
        if told > _TOLD:
            self.stderr.write(f"… and {told - _TOLD:,} more.", style_func=str)
        verb = "would be made" if dry_run else "made"
        self.stdout.write(
            f"{outcome.lines:,} lines: {outcome.created:,} {verb}, "
            f"{outcome.existing:,} there already, {outcome.errors:,} wrong."
        )
        if outcome.errors:
            raise CommandError("Some lines were wrong; mend them and repeat.")

    def _owner(self, user: str | None, project: str | None) -> dict[str, Any]:
        if (user is None) == (project is None):
            raise CommandError("Say --user or --project, one of them.")
        if user is not None:
            return {"user": find_user(user)}
        return {"project": find_project(project or "")}

    def _add(self, *, kind: str, identifier: str, user: Any, project: Any, **options: Any) -> None:
        binding = ResourceBinding(kind=kind, identifier=identifier, **self._owner(user, project))
        binding.full_clean()
        binding.save()
        self.stdout.write(f"Bound {binding}.")

    def _remove(
        self, *, kind: str, identifier: str, user: Any, project: Any, **options: Any
    ) -> None:
        owner = self._owner(user, project)
        removed, _ = ResourceBinding.objects.filter(
            kind=kind, identifier=identifier, **owner
        ).delete()
        if not removed:
            raise CommandError("There is no such binding.")
        self.stdout.write(f"Unbound {kind} {identifier}.")

    def _list(self, *, kind: Any, user: Any, project: Any, limit: int, **options: Any) -> None:
        check_limit(limit)
        bindings = ResourceBinding.objects.select_related("user", "project")
        if user is not None:
            bindings = bindings.filter(user=find_user(user))
        if project is not None:
            bindings = bindings.filter(project=find_project(project))
        if kind is not None:
            bindings = bindings.filter(kind=kind)
        rows = [
            (
                binding.kind,
                binding.identifier,
                binding.user.get_username() if binding.user else "",
                binding.project.slug if binding.project else "",
            )
            for binding in bindings[:limit]
        ]
        Screen(self.stdout, color=False).table(("KIND", "IDENTIFIER", "USER", "PROJECT"), rows)
