from typing import Any

from ... import reach
from .. import arguments
from ..terminal import Terminal
from . import deny

HELP = "Let a credential reach a project again, or approve a token that is pending approval."

add_arguments = deny.add_common


def handle(
    terminal: Terminal, *, public_id: str, project: str, by: str | None, **options: Any
) -> None:
    found_project = arguments.find_project(project)
    entry = deny.find(found_project, public_id)
    user = arguments.find_user(by) if by else None
    allowed = reach.allow(found_project, entry, by=user, as_admin=True)
    words = ("Approved" if entry.is_request else "Allowed") if allowed else "Not denied:"
    sentence = f"{words} {entry.name} ({entry.id}) in {project}."
    deny.show(terminal, found_project, entry, sentence)
