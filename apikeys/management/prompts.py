"""Ask the user questions on a terminal."""

import getpass
import sys
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from typing import TypeVar

from django.core.management.base import CommandError

from .. import scopes
from ..errors import LifecycleError
from .output import Screen

T = TypeVar("T")

_TRIES = 3
_LONGEST_CREDENTIAL = 65_536
_NO_CREDENTIAL = "\N{REPLACEMENT CHARACTER}"  # in place of bytes that no credential has


def is_interactive() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def ask(screen: Screen, question: str, clean: Callable[[str], T]) -> T:
    """Ask until ``clean`` accepts the answer, three times at most. Raise its last error."""
    for _ in range(_TRIES - 1):
        try:
            return clean(_input(question))
        except LifecycleError as error:
            screen.line(error.message)
    return clean(_input(question))


def ask_scopes(screen: Screen) -> list[str]:
    screen.line("Scopes:")
    declared = enumerate(scopes.declared().items(), start=1)
    screen.table((), [[f"{number:>4}", *each] for number, each in declared])
    return ask(screen, "Names or numbers, separated by spaces: ", _choose_scopes)


def not_empty(answer: str) -> str:
    if not answer:
        raise LifecycleError("missing_argument", "Enter an answer, or press Ctrl-C to cancel.")
    return answer


def _choose_scopes(answer: str) -> list[str]:
    declared = list(scopes.declared())
    numbers = {str(number): name for number, name in enumerate(declared, start=1)}
    words = not_empty(answer).split()
    if unknown := [word for word in words if word not in declared and word not in numbers]:
        message = f"Unknown scope: {', '.join(unknown)}."
        raise LifecycleError("unknown_scope", message, "scopes")
    return [word if word in declared else numbers[word] for word in words]


def _input(question: str) -> str:
    try:
        # If standard output is redirected, print the question where the user sees it.
        shown = sys.stdout is not None and sys.stdout.isatty()
        with nullcontext() if shown else redirect_stdout(sys.stderr):
            return input(question).strip()
    except (EOFError, KeyboardInterrupt):
        raise CommandError("Cancelled. Nothing was changed.") from None


def read_credential() -> str:
    """Read a credential from standard input. Every user of the machine can see arguments."""
    try:
        if is_interactive():
            text = getpass.getpass("Credential: ")
        else:
            text = sys.stdin.read(_LONGEST_CREDENTIAL)
    except (EOFError, KeyboardInterrupt):
        raise CommandError("Cancelled.") from None
    except UnicodeDecodeError:
        return _NO_CREDENTIAL
    return text.strip() if text.isascii() else _NO_CREDENTIAL
