from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...keys.facts import record
from ...lifecycle import descendants
from ...models import AnyKey, State
from .. import arguments, selecting
from ..output import show
from ..terminal import Terminal

HELP = "Revoke a key, or all keys that are unused, now and permanently."
MORE = "Revoke one key by its ID, or with --unused-for all keys that match the options."

_TOGETHER = 1000  # keys in one transaction
_NAMED = 20  # maximum number of keys to name that were revoked with another


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser, optional=True)
    arguments.add_reason(parser)
    arguments.add_by(parser)
    selecting.add_arguments(parser, "revoke")
    selecting.add_dry_run(parser, "revoked")


def handle(
    terminal: Terminal, *, public_id: str | None, unused_for: str | None, **options: Any
) -> None:
    selecting.check_one_or_unused(public_id, unused_for, options, "revoke")
    if public_id is not None:
        _revoke_one(terminal, public_id, options["reason"], options["by"])
    else:
        _revoke_unused(terminal, unused_for, **options)


def _revoke_one(terminal: Terminal, public_id: str, reason: str | None, by: str | None) -> None:
    terminal.require({"--reason": reason})
    key = arguments.find_key(public_id)
    user = arguments.find_user(by) if by else None
    terminal.preview("Key to revoke", key)
    made = descendants.created_with(key)
    revoked = lifecycle.revoke(key, by=user, reason=reason or terminal.ask_reason())
    facts = record(key)
    if revoked:
        sentence = f"Revoked {key}. Every request with it is now refused."
    else:
        when = show("revoked_at", facts["revoked_at"])
        sentence = f"{key} was already revoked at {when}: {key.revoked_reason}"
    terminal.show(facts, sentence)
    for each in made[:_NAMED] if revoked else ():
        terminal.notes.line(f"{each}, which was created with it, was revoked too.")
    if revoked and len(made) > _NAMED:
        terminal.notes.line(f"So were {len(made) - _NAMED} more keys that were created with it.")
    for other in key.chain():
        if (state := other.state()) in (State.LIVE, State.PAUSED):
            terminal.notes.line(
                f"{other.public_id}, from the same chain of rotations, is still "
                f"{show('state', state)}."
            )


def _revoke_unused(
    terminal: Terminal,
    unused_for: str | None,
    *,
    reason: str | None,
    by: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    if not dry_run:
        terminal.require({"--reason": reason})
    user = arguments.find_user(by) if by else None
    names = {name: options.get(name) for name in selecting.NAMES} | {"unused_for": unused_for}
    selection = selecting.select(**names)
    if dry_run:
        found = chain.from_iterable(keys.iterator(_TOGETHER) for keys in selection.of_each_kind())
        selecting.show_changed(terminal, found, "Would revoke")
        return
    selecting.check_recorded(selection.unused_since)
    revoked = _revoked(selection, reason or terminal.ask_reason(), user)
    first = list(islice(revoked, 1))  # a wrong reason is refused before anything is printed
    selecting.show_changed(terminal, chain(first, revoked), "Revoked")


def _revoked(selection: selecting.Selection, reason: str, user: Any) -> Iterator[AnyKey]:
    for keys in selection.of_each_kind():
        while batch := list(keys[:_TOGETHER]):  # revoked keys are not selected again
            yield from lifecycle.revoke_all(dict.fromkeys(batch, reason), by=user)
