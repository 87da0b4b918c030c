from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from django.core.management.base import CommandParser

from ... import lifecycle
from ...keys.facts import record
from ...models import AnyKey
from .. import arguments, selecting
from ..output import show
from ..terminal import Terminal

HELP = "Pause a key, or all keys that are unused, until it is resumed."
MORE = (
    "Pause one key by its ID, or with --unused-for all keys that match the options. A pause "
    "can be undone with `resume`."
)

_TOGETHER = 1000  # keys in one transaction


def add_arguments(parser: CommandParser) -> None:
    arguments.add_id(parser, optional=True)
    parser.add_argument(
        "--reason",
        help=f"Why, for the owner and the audit log: up to {arguments.MAX_REASON} characters.",
    )
    arguments.add_by(parser)
    parser.add_argument(
        "--held",
        action="store_true",
        help="Only a site admin can resume the key, with `resume` or in the admin. Otherwise its "
        "owner can, too.",
    )
    selecting.add_arguments(parser, "pause")
    selecting.add_dry_run(parser, "paused")


def handle(
    terminal: Terminal, *, public_id: str | None, unused_for: str | None, **options: Any
) -> None:
    selecting.check_one_or_unused(public_id, unused_for, options, "pause")
    by = options["by"]
    how = {
        "by": arguments.find_user(by) if by else None,
        "reason": options["reason"] or "",
        "held": options["held"],
    }
    if public_id is not None:
        _pause_one(terminal, public_id, how)
        return
    names = {name: options.get(name) for name in selecting.NAMES} | {"unused_for": unused_for}
    selection = selecting.select(**names)
    if options["dry_run"]:
        selecting.show_changed(terminal, _chosen(selection), "Would pause")
        return
    selecting.check_recorded(selection.unused_since)
    paused = _paused(selection, how)
    first = list(islice(paused, 1))  # a wrong reason is refused before anything is printed
    selecting.show_changed(terminal, chain(first, paused), "Paused")


def _pause_one(terminal: Terminal, public_id: str, how: dict[str, Any]) -> None:
    key = arguments.find_key(public_id)
    paused = lifecycle.pause(key, **how)
    facts = record(key)
    if paused:
        sentence = f"Paused {key}. Every request with it is refused until it is resumed."
    else:
        when = show("paused_at", facts["paused_at"])
        why = f": {key.paused_reason}" if key.paused_reason else "."
        sentence = f"{key} was already paused at {when}{why}"
    terminal.show(facts, sentence)


def _chosen(selection: selecting.Selection) -> Iterator[AnyKey]:
    for keys in selection.of_each_kind():
        yield from keys.filter(paused_at=None, is_pending=False).iterator(_TOGETHER)


def _paused(selection: selecting.Selection, how: dict[str, Any]) -> Iterator[AnyKey]:
    for keys in selection.of_each_kind():
        active = keys.filter(paused_at=None, is_pending=False)
        while batch := list(active[:_TOGETHER]):  # paused keys are not selected again
            yield from lifecycle.pause_all(batch, **how)
