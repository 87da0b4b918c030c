"""Pages that are written by what they are about: `UPDATE_DOCS=1` writes them anew.

What stands above the mark is written by hand.
"""

import argparse
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from tests.documents import ROOT

MARK = "<!-- From here on this page is written by the test suite: UPDATE_DOCS=1. -->\n"
COMMANDS = {
    "apikeys": "apikeys.management.commands.apikeys",
    "apikeys_bindings": "apikeys.gateway.management.commands.apikeys_bindings",
}
API = re.compile("/api/(token|projects/.*keys|approvals|leaked|bindings)")
TEMPLATES = ["apikeys/templates/apikeys", "apikeys/oauth/templates"]


def row(*cells: str) -> str:
    text = " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {text} |".replace("|  |", "| |")


def table(*headers: str, rows: Iterable[Iterable[str]]) -> list[str]:
    return [row(*headers), row(*["---"] * len(headers)), *(row(*cells) for cells in rows), ""]


# The commands, as argparse knows them


def commands() -> Iterator[str]:
    for name, module in COMMANDS.items():
        command = import_module(module).Command()
        parser = command.create_parser("manage.py", name)
        yield from (f"## {name}", "", command.help, "")
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for sub, each in action.choices.items():
                    yield from _command(f"{name} {sub}", each)


def _command(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    shown = [
        action
        for action in parser._actions
        if action.help != argparse.SUPPRESS and action.dest != "help"
    ]
    positional = " ".join(str(a.metavar or a.dest) for a in shown if not a.option_strings)
    yield from (f"### {name} {positional}".rstrip(), "", parser.description or "", "")
    yield from table("argument", "what it is", rows=((_usage(a), _help(a)) for a in shown))


def _usage(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = action.metavar or ("" if action.nargs == 0 else action.dest.upper())
    if action.choices and not action.metavar:
        value = "{" + ",".join(map(str, action.choices)) + "}"
    names = ", ".join(f"`{option}`" for option in action.option_strings)
    return f"{names} `{value}`" if value else names


def _help(action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": "manage.py"}
    return f"{text} Required." if action.required and action.option_strings else text


# The HTTP API, as its OpenAPI document describes it


def http_api() -> Iterator[str]:
    document = SchemaGenerator().get_schema(request=None, public=True)
    schemas = document["components"]["schemas"]
    used: set[str] = set()
    for path, operations in document["paths"].items():
        if API.match(path):
            for method, operation in operations.items():
                yield from _operation(f"{method.upper()} {path}", operation, used)
    yield from ("## Bodies", "")
    while new := sorted(_reached(schemas, used) - used):
        used.update(new)
    for name in sorted(used):
        yield from (f"### {name}", "")
        schema = schemas[name]
        if schema.get("description"):
            yield from (schema["description"], "")
        if schema.get("enum"):
            yield from (f"One of {', '.join(f'`{value}`' for value in schema['enum'])}.", "")
        if schema.get("oneOf"):
            yield from (f"One of {', '.join(_type(each) for each in schema['oneOf'])}.", "")
        required = schema.get("required", [])
        properties = schema.get("properties", {}).items()
        if properties:
            yield from table(
                "field",
                "type",
                "",
                rows=(
                    (
                        f"`{field}`" + ("" if field in required else " (optional)"),
                        _type(of),
                        _said(of),
                    )
                    for field, of in properties
                ),
            )


def _operation(title: str, operation: dict[str, Any], used: set[str]) -> Iterator[str]:
    yield from (f"## {title}", "")
    if operation.get("summary"):
        yield from (f"**{operation['summary']}.** {operation.get('description', '')}".rstrip(), "")
    elif operation.get("description"):
        yield from (operation["description"], "")
    yield from (_callers(operation.get("security", [])), "")
    if parameters := operation.get("parameters"):
        yield from table(
            "parameter",
            "in",
            "type",
            "",
            rows=(
                (
                    f"`{each['name']}`" + ("" if each.get("required") else " (optional)"),
                    each["in"],
                    _type(each["schema"]),
                    each.get("description", ""),
                )
                for each in parameters
            ),
        )
    if body := operation.get("requestBody"):
        yield from (f"Body: {_content(body, used)}.", "")
    yield from table(
        "status",
        "body",
        "",
        rows=(
            (status, _content(answer, used), answer.get("description", ""))
            for status, answer in operation["responses"].items()
        ),
    )


def _callers(security: list[dict[str, list[str]]]) -> str:
    told = []
    for each in security or [{}]:
        for scheme, scopes in each.items():
            names = ", ".join(f"`{scope}`" for scope in scopes)
            told.append(
                {"bearerAuth": f"a credential with {names}" if names else "any credential"}.get(
                    scheme, "a session"
                )
            )
        if not each:
            told.append("anybody")
    return f"For {', or '.join(dict.fromkeys(told))}."


def _content(body: dict[str, Any], used: set[str]) -> str:
    types = [_type(content["schema"]) for content in body.get("content", {}).values()]
    for content in body.get("content", {}).values():
        used |= _names(content["schema"])
    return ", or ".join(dict.fromkeys(types))


def _names(schema: Any) -> set[str]:
    """The components that a schema refers to."""
    if isinstance(schema, dict):
        named = {schema["$ref"].rpartition("/")[2]} if "$ref" in schema else set()
        return named.union(*map(_names, schema.values()))
    return set().union(*map(_names, schema)) if isinstance(schema, list) else set()


def _reached(schemas: dict[str, Any], used: set[str]) -> set[str]:
    return set().union(*(_names(schemas[name]) for name in used))


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("oneOf", "anyOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[several])))
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'])}"
    if schema.get("enum"):
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    kinds = schema.get("type", "any")
    kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
    kind += f" ({schema['format']})" if schema.get("format") else ""
    return f"{kind} or null" if schema.get("nullable") else kind


def _said(schema: dict[str, Any]) -> str:
    text = schema.get("description", "")
    bounds = [
        f"{words} {schema[key]}"
        for key, words in [
            ("minimum", "at least"),
            ("maximum", "at most"),
            ("maxLength", "up to"),
            ("maxItems", "up to"),
            ("default", "by default"),
        ]
        if schema.get(key) not in (None, "", [])
    ]
    units = {"maxLength": "characters", "maxItems": "items"}
    bounds = [
        f"{bound} {units[key]}"
        if (key := next((k for k in units if k in schema), "")) and bound.startswith("up to")
        else bound
        for bound in bounds
    ]
    return f"{text} {'; '.join(bounds).capitalize()}." if bounds else text


# The templates, as they lie there


def templates() -> Iterator[str]:
    for folder in TEMPLATES:
        base = ROOT / folder
        root = base.parent if base.name != "templates" else base
        rows = []
        for path in sorted(base.rglob("*")):
            if path.suffix in {".html", ".txt"} and not path.name.startswith("_"):
                text = path.read_text("utf-8")
                extends = re.search(r'{% extends "([^"]+)"', text)
                blocks = re.findall(r"{% block (\w+)", text)
                rows.append(
                    (
                        f"`{path.relative_to(root)}`",
                        f"`{extends[1]}`" if extends else "",
                        ", ".join(f"`{block}`" for block in blocks),
                    )
                )
        yield from (
            f"## Of {'the settings pages and mails' if 'oauth' not in folder else 'OAuth'}",
            "",
        )
        yield from table("template", "extends", "blocks", rows=rows)


PAGES = {
    "docs/reference/commands.md": commands,
    "docs/reference/http-api.md": http_api,
    "docs/reference/templates.md": templates,
}


def render(page: str) -> str:
    """What the page has to be: its own beginning, and what is generated."""
    by_hand = (ROOT / page).read_text("utf-8").partition(MARK)[0]
    return f"{by_hand}{MARK}\n" + "\n".join(PAGES[page]()).rstrip() + "\n"
