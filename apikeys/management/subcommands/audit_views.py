from collections.abc import Iterator
from typing import Any, Final

from django.core.management.base import CommandParser

from ...acceptance import used_kinds
from ...conf import app_settings
from ...drf import inventory
from ..terminal import Terminal

HELP = "List all URLs, with the credentials that each accepts and the scopes that it requires."
MORE = (
    "A view without an entry under ACCEPTS does not use the authentication of apikeys, such as a "
    "page of your site."
)

_COLUMNS: Final = ("URL", "METHODS", "ACCEPTS", "REQUIRES", "VIEW")
_PROBLEMS: Final = {
    inventory.NOT_DECLARED: "refuses all: no scope declared",
    inventory.ON_PURPOSE: "refuses all on purpose",
    inventory.OVERRIDDEN: "refuses all: {about}",
    inventory.UNREADABLE: "unknown: {about}",
    inventory.UNKNOWN_SCOPE: "{scopes} (not in SCOPES: {about})",
    inventory.UNKNOWN_KIND: "{scopes} (unknown in accepts: {about})",
}


def add_arguments(parser: CommandParser) -> None:
    pass


def handle(terminal: Terminal, **options: Any) -> None:
    terminal.show_list(_records(), _COLUMNS, _row, none="No URLs.", expendable=("VIEW",))


def _records() -> Iterator[dict[str, Any]]:
    """Yield a record for each URL and view, and for each way in which its methods differ."""
    found: dict[Any, dict[str, Any]] = {}
    for each in inventory.operations():
        record = {
            "url": each.url,
            "methods": [],
            "view": each.view,
            "accepts": list(each.accepts),
            "requires": None if each.requires is None else list(each.requires),
            "problem": each.problem or None,
            "about": each.about or None,
        }
        same = each.url, each.view, each.accepts, each.requires, each.problem, each.about
        methods = found.setdefault(same, record)["methods"]
        if each.method and each.method not in methods:
            methods.append(each.method)
    yield from found.values()


def _row(record: dict[str, Any]) -> list[str]:
    scopes = " ".join(record["requires"] or ())
    if record["problem"]:
        requires = _PROBLEMS[record["problem"]].format(about=record["about"], scopes=scopes)
    elif record["requires"] is None:
        requires = ""
    else:
        requires = scopes or "no scope"
    accepts = " ".join(record["accepts"])
    if app_settings.PROJECT_KEYS and len(record["accepts"]) == len(used_kinds()):
        accepts = "all"
    return [record["url"], " ".join(record["methods"]), accepts, requires, record["view"]]
