"""Arguments that subcommands of ``manage.py apikeys_bindings`` share, and the JSON of a binding."""

from typing import Any

from django.core.management.base import CommandParser

from ... import moments
from ...conf import slug_of
from ...errors import LifecycleError
from ...management.arguments import find_project, find_user
from ..models import ResourceBinding


def add_resource(parser: CommandParser) -> None:
    parser.add_argument(
        "kind", metavar="KIND", help="The kind of resource, as routes name it: subscriber_id."
    )
    parser.add_argument(
        "identifier", metavar="IDENTIFIER", help="The resource, as it appears in the path."
    )


def add_owner(parser: CommandParser) -> None:
    parser.add_argument("--user", metavar="USERNAME", help="The user who owns the resource.")
    parser.add_argument("--project", metavar="SLUG", help="The project that owns the resource.")


def owner(user: str | None, project: str | None) -> dict[str, Any]:
    """Return the owner as a field of ``ResourceBinding``. Raise ``LifecycleError`` without one."""
    if (user is None) == (project is None):
        message = "Give either --user or --project."
        raise LifecycleError("invalid_arguments", message, "user")
    if user is not None:
        return {"user": find_user(user)}
    return {"project": find_project(project or "")}


def record(binding: ResourceBinding) -> dict[str, Any]:
    """Return a binding as JSON, with the fields of the JSON API."""
    return {
        "id": binding.pk,
        "user": binding.user.get_username() if binding.user else None,
        "project": slug_of(binding.project) if binding.project else None,
        "kind": binding.kind,
        "identifier": binding.identifier,
        "created_at": moments.iso(binding.created_at),
    }
