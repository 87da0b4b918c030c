from typing import Any

from django.core.management.base import CommandParser

from ....management.arguments import add_limit, check_limit, find_project, find_user
from ....management.terminal import Terminal
from ...models import ResourceBinding
from .. import arguments

HELP = "List bindings, newest first."

_FIELDS = ("kind", "identifier", "user", "project")


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument("--user", metavar="USERNAME", help="Only show resources of this user.")
    parser.add_argument("--project", metavar="SLUG", help="Only show resources of this project.")
    parser.add_argument("--kind", metavar="KIND", help="Only show resources of this kind.")
    add_limit(parser, "bindings")


def handle(
    terminal: Terminal,
    *,
    kind: str | None,
    user: str | None,
    project: str | None,
    limit: int,
    **options: Any,
) -> None:
    check_limit(limit)
    bindings = ResourceBinding.objects.select_related("user", "project")
    if user is not None:
        bindings = bindings.filter(user=find_user(user))
    if project is not None:
        bindings = bindings.filter(project=find_project(project))
    if kind is not None:
        bindings = bindings.filter(kind=kind)
    terminal.show_list(
        map(arguments.record, bindings[:limit]),
        [name.upper() for name in _FIELDS],
        lambda facts: [facts[name] or "" for name in _FIELDS],
        none="No bindings.",
    )
