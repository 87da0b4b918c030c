"""What a subcommand says, to people or as JSON."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError

from ..lifecycle import LifecycleError, Minted
from ..records import AnyKey, record
from .output import Screen, UnwritableError, WritingCommand
from .prompts import ask, is_interactive, not_empty

_SHOWN_ONCE = """
The token is shown this once: put it where it is needed now. It goes into the header
`Authorization: Bearer <token>`.
"""

_SIGNS = """\
This key has no secret: requests are signed with the other half of its public key, and name
its id as `keyid`.
"""


class Terminal:
    """Where a subcommand writes: the answer on ``screen``, or as JSON, remarks on ``notes``."""

    def __init__(self, command: WritingCommand, *, as_json: bool, force_color: bool) -> None:
        self._stdout = command.stdout
        colors = command.style.SUCCESS("x") != "x" and not os.environ.get("NO_COLOR")
        self.screen = Screen(self._stdout, color=force_color or (colors and self._stdout.isatty()))
        self.notes = Screen(command.stderr, color=False)
        self.as_json = as_json
        self.is_interactive = not as_json and is_interactive()

    def json(self, value: Any) -> None:
        self._stdout.write(json.dumps(value, indent=2))

    def json_list(self, records: Iterable[dict[str, Any]], ending: str = "\n") -> None:
        """A record to a line, written as they come."""
        self._stdout.write("[", ending="")
        separator = "\n"
        for each in records:
            self._stdout.write(separator + json.dumps(each), ending="")
            separator = ",\n"
        self._stdout.write("\n]", ending=ending)

    def json_object(
        self, name: str, records: Iterable[dict[str, Any]], facts: Callable[[], dict[str, Any]]
    ) -> None:
        """An object that has ``records`` under ``name``, and the ``facts`` once they are told."""
        self._stdout.write(f'{{"{name}": ', ending="")
        self.json_list(records, ending="")
        self._stdout.write("," + json.dumps(facts(), indent=2)[1:])

    def text(self, text: str) -> None:
        """As it is, for other programs."""
        self._stdout.write(text, ending="")

    def tell(self, facts: Any, sentence: str) -> None:
        """``facts`` as JSON, or ``sentence`` for people."""
        if self.as_json:
            self.json(facts)
        else:
            self.screen.line(sentence)

    def tell_facts(self, facts: dict[str, Any]) -> None:
        if self.as_json:
            self.json(facts)
        else:
            self.screen.facts(facts)

    def tell_all(
        self,
        records: Iterable[dict[str, Any]],
        columns: Sequence[str],
        row: Callable[[dict[str, Any]], Sequence[str]],
        *,
        none: str,
        expendable: Sequence[str] = (),
    ) -> None:
        """``records`` as JSON, or as a table of their ``row``s; or ``none`` for people."""
        if self.as_json:
            self.json_list(records)
        elif rows := [row(each) for each in records]:
            self.screen.table(columns, rows, expendable)
        else:
            self.screen.line(none)

    def reveal(self, minted: Minted[Any], *, if_lost: Callable[[], str], **more: Any) -> None:
        """Show a new key's token: the only place that does.

        ``if_lost`` sees to a key that could not be shown, and says in a sentence what it is.
        """
        facts = record(minted.key)
        try:
            if self.as_json:
                self.json({"token": minted.token or None} | facts | more)
            else:
                self.screen.line(minted.token or _SIGNS)
            self._stdout.flush()
        except UnwritableError as error:
            raise CommandError(f"{if_lost()} {error}") from error
        self._stdout.rest_is_optional = True
        if not self.as_json:
            if minted.token:
                self.screen.line(_SHOWN_ONCE)
            self.screen.facts(facts)

    def preview(self, title: str, key: AnyKey) -> None:
        """Let a person see what is about to be changed."""
        if self.is_interactive:
            self.notes.line(f"{title}:")
            self.notes.facts(record(key))
            self.notes.line()

    def require(self, given: Mapping[str, object]) -> None:
        """Where nobody is there to be asked, all of it has to be given."""
        missing = [] if self.is_interactive else [name for name, it in given.items() if not it]
        if missing:
            message = f"Missing: {', '.join(missing)}. On a terminal you would be asked."
            raise LifecycleError("missing_argument", message, missing[0].split()[0].lstrip("-"))

    def ask_reason(self) -> str:
        return ask(self.notes, "Reason: ", not_empty)
