from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle, moments
from ...keys import ended
from ...keys.facts import record
from ...lifecycle import descendants
from ...models import AnyKey
from ...reach.listing import awaits_approval_in
from ...usage.scope_uses import Used
from .. import arguments
from ..output import counted, show, show_uses
from ..terminal import Terminal

HELP = "Show a key in full, except for its secret."


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser)


def handle(terminal: Terminal, *, public_id: str, **options: Any) -> None:
    key = arguments.find_key(public_id)
    chain = [each.public_id for each in key.chain()]
    shown = chain if terminal.as_json else " -> ".join(chain)
    uses = ended.record(key)
    awaits = awaits_approval_in(key)
    uses["awaits_approval_in"] = awaits if terminal.as_json else ", ".join(awaits) or None
    if not terminal.as_json:
        denials = uses["used_after_denial"]
        shown_uses = "; ".join(f"{each['project']}: {show_uses(each)}" for each in denials)
        uses["used_after_denial"] = shown_uses or None
    made = [each.public_id for each in descendants.created_with(key)]
    facts = record(key) | uses | {"rotation_chain": shown}
    facts["created_keys"] = made if terminal.as_json else ", ".join(made) or None
    terminal.show_facts(facts | {"scopes_used": _used(key, as_json=terminal.as_json)})


def _used(key: AnyKey, *, as_json: bool) -> Any:
    """Return the last use of each granted scope, and how many requests used it."""
    found = lifecycle.uses(key).scopes
    if as_json:
        return {
            name: use and {"last_used_at": moments.iso(use.last), "requests": use.requests}
            for name, use in found.items()
        }
    return ", ".join(f"{name}: {_shown(use)}" for name, use in found.items())


def _shown(use: Used | None) -> str:
    if use is None:
        return "never"
    return f"{show('last_used_at', moments.iso(use.last))} ({counted(use.requests, 'request')})"
