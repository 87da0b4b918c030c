from typing import Any

from django.core.management.base import CommandParser

from ....errors import LifecycleError
from ....management.terminal import Terminal
from ...models import ResourceBinding
from .. import arguments

HELP = "Remove the binding of a resource."


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
    found = ResourceBinding.objects.filter(kind=kind, identifier=identifier, **owner)
    binding = found.select_related("user", "project").first()
    removed = arguments.record(binding) if binding else None
    if binding is None or not found.delete()[0]:
        raise LifecycleError("unknown_binding", "This binding does not exist.")
    terminal.show(removed, f"Unbound {kind} {identifier}.")
