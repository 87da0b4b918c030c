from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandParser

from ....errors import LifecycleError
from ....management.terminal import Terminal
from ...models import ResourceBinding
from .. import arguments

HELP = "Bind a resource to a user or a project."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_resource(parser)
    arguments.add_owner(parser)


def handle(
    terminal: Terminal,
    *,
    kind: str,
    identifier: str,
    user: str | None,
    project: str | None,
    **options: Any,
) -> None:
    owner = arguments.owner(user, project)
    binding = ResourceBinding(kind=kind, identifier=identifier, **owner)
    try:
        binding.full_clean()
    except ValidationError as error:
        raise LifecycleError("invalid_binding", " ".join(error.messages)) from error
    binding.save()
    terminal.show(arguments.record(binding), f"Bound {binding}.")
