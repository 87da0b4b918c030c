from argparse import SUPPRESS
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.views.decorators.debug import sensitive_variables

from ... import refusals
from ...refusals import Refused
from ...verify import verify
from .. import arguments
from ..prompts import read_credential
from ..terminal import Terminal

HELP = "Show who a credential on standard input belongs to."
MORE = (
    "Exits with 0 if the credential is accepted. Otherwise it prints the code of the refusal and "
    "exits with 1. It does not count as a use of the key."
)


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("misplaced", nargs="*", help=SUPPRESS)


@sensitive_variables("text")
def handle(terminal: Terminal, *, misplaced: list[str], **options: Any) -> None:
    if misplaced:
        raise arguments.secret_in_arguments()
    text = read_credential()
    try:
        if not text:
            raise Refused(refusals.NOT_AUTHENTICATED)
        access = verify(text, counts_as_use=False)
    except Refused as refused:
        refusal = refused.refusal
    else:
        return terminal.show_facts(access.facts())
    detail = str(refusal.message) if text else "Standard input is empty."
    terminal.show({"code": refusal.code, "detail": detail}, refusal.code)
    raise CommandError(detail)
