"""Print the result of a subcommand, for people or as JSON."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError

from .. import token
from ..errors import LifecycleError
from ..keys.facts import record
from ..keys.setup import setups
from ..lifecycle import Minted
from ..models import AnyKey
from .output import Screen, UnwritableError, WritingCommand
from .prompts import ask, is_interactive, not_empty

_SHOWN_ONCE = """
Copy this {word} now. You will not be able to see it again. Send it in the header
`Authorization: Bearer <{word}>`.
"""

_SIGNS = """\
This key has no secret. Sign requests with the private key that belongs to its public key, and
send its ID as `keyid`.
"""

_TRUSTS = """\
This key has no secret. The workload that it trusts exchanges its own identity token, like this:
"""


class Terminal:
    """Print the result to ``screen`` (standard output) and remarks to ``notes`` (standard error).

    With ``as_json``, the result is JSON, and the user is never asked.
    """

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
        """Print a list with one record to a line, each as soon as it is there."""
        self._stdout.write("[", ending="")
        separator = "\n"
        for each in records:
            self._stdout.write(separator + json.dumps(each), ending="")
            separator = ",\n"
        self._stdout.write("\n]", ending=ending)

    def json_object(
        self, name: str, records: Iterable[dict[str, Any]], facts: Callable[[], dict[str, Any]]
    ) -> None:
        """Print an object with ``records`` under ``name``, and then the ``facts`` about them."""
        self._stdout.write(f'{{"{name}": ', ending="")
        self.json_list(records, ending="")
        self._stdout.write("," + json.dumps(facts(), indent=2)[1:])

    def text(self, text: str) -> None:
        """Print text unchanged, for other programs."""
        self._stdout.write(text, ending="")

    def show(self, facts: Any, sentence: str) -> None:
        """Print ``facts`` as JSON, or ``sentence`` for people."""
        if self.as_json:
            self.json(facts)
        else:
            self.screen.line(sentence)

    def show_facts(self, facts: dict[str, Any]) -> None:
        if self.as_json:
            self.json(facts)
        else:
            self.screen.facts(facts)

    def show_list(
        self,
        records: Iterable[dict[str, Any]],
        columns: Sequence[str],
        row: Callable[[dict[str, Any]], Sequence[str]],
        *,
        none: str,
        expendable: Sequence[str] = (),
    ) -> None:
        """Print ``records`` as JSON, or for people as a table, or ``none`` for an empty list."""
        if self.as_json:
            self.json_list(records)
        elif rows := [row(each) for each in records]:
            self.screen.table(columns, rows, expendable)
        else:
            self.screen.line(none)

    def reveal(self, minted: Minted[Any], *, if_lost: Callable[[], str], **more: Any) -> None:
        """Print the text of a new key, with its secret. Nothing else prints one.

        If it cannot be printed, call ``if_lost``, which returns a sentence for the error.
        """
        facts = record(minted.key)
        try:
            if self.as_json:
                self.json({"token": minted.token or None} | facts | more)
            else:
                self.screen.line(minted.token or (_SIGNS if minted.key.public_key else _TRUSTS))
                self._setup(minted.key)
            self._stdout.flush()
        except UnwritableError as error:
            raise CommandError(f"{if_lost()} {error}") from error
        self._stdout.rest_is_optional = True
        if not self.as_json:
            if minted.token:
                word = "token" if minted.key.KIND == token.PAT else "key"
                self.screen.line(_SHOWN_ONCE.format(word=word))
            self.screen.facts(facts)

    def show_setup(self, key: AnyKey) -> None:
        """Print what a workload needs to use ``key``."""
        self.screen.line()
        self.screen.line(_TRUSTS)
        self._setup(key)

    def _setup(self, key: AnyKey) -> None:
        for text in setups(key):
            self.screen.line(text.code)
            self.screen.line()

    def preview(self, title: str, key: AnyKey) -> None:
        """Show the key that the user is about to change."""
        if self.is_interactive:
            self.notes.line(f"{title}:")
            self.notes.facts(record(key))
            self.notes.line()

    def require(self, given: Mapping[str, object]) -> None:
        """Raise ``LifecycleError`` if an argument is missing and the user cannot be asked."""
        missing = [] if self.is_interactive else [name for name, it in given.items() if not it]
        if missing:
            message = (
                f"Missing: {', '.join(missing)}. Only on a terminal does the command ask for them."
            )
            raise LifecycleError("missing_argument", message, missing[0].split()[0].lstrip("-"))

    def ask_reason(self) -> str:
        return ask(self.notes, "Reason: ", not_empty)
