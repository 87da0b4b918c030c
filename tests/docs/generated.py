"""Pages that are generated from the code: `UPDATE_DOCS=1` writes them.

The text above the mark is written by hand.
"""

import argparse
import re
from collections.abc import Iterator

from apikeys import refusals as module
from apikeys.conf import AppSettings
from apikeys.conf.endings import EndSettings
from apikeys.conf.replicas import ReplicaSettings
from apikeys.gateway.conf import GatewaySettings
from apikeys.issuers.conf import IssuersSettings
from apikeys.oauth.conf import OAuthSettings
from apikeys.refusals import REFUSALS, Refusal
from apikeys.workloads.conf import WorkloadSettings
from tests import commands as walk
from tests.docs import http_api, markdown, python_api, system_checks
from tests.docs.markdown import table
from tests.documents import ROOT

MARK = "<!-- From here on this page is written by the test suite: UPDATE_DOCS=1. -->\n"
TEMPLATES = ["apikeys/templates/apikeys", "apikeys/oauth/templates"]


# The commands, from their parsers


def commands() -> Iterator[str]:
    for command, parser in walk.commands():
        yield from (f"## {command}", "", parser.description or "", "")
        for name, each in walk.subcommands(command, parser):
            yield from _command(name, each)


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


# The templates, from their files


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
            f"## {'Settings pages and mails' if 'oauth' not in folder else 'OAuth'}",
            "",
        )
        yield from table("template", "extends", "blocks", rows=rows)


# The settings, from their tables

TABLES = {
    "## Core": AppSettings,
    "## OAuth": OAuthSettings,
    "## Trusted issuers": IssuersSettings,
    "## The end of keys": EndSettings,
    "## Replicas": ReplicaSettings,
    "## Gateway": GatewaySettings,
    "## Workloads": WorkloadSettings,
}


def settings() -> Iterator[str]:
    for heading, part in TABLES.items():
        yield from (heading, "")
        for each in part.declared():
            words = each.rule.words
            yield from (f"### {each.name}", "", each.about, "")
            yield f"- Takes {words}."
            yield f"- Default: {each.default_words or f'`{markdown.python(each.default)}`'}."
            yield from (f"- Check: {system_checks.link(each.check)}.", "")


# The refusals, as declared: the refusals of restrictions in their section

#: The first refusal of each section.
SECTIONS = {
    "not_authenticated": "Credentials",
    "malformed_token": "Tokens of trusted issuers",
    "workload_not_trusted": "Workloads",
    "malformed_signature": "Signed requests",
    "ip_not_allowed": "Restrictions",
    "verification_busy": "Availability",
    "rate_limited": "Rate limits",
    "insufficient_scope": "Scopes",
    "no_route": "The gateway",
}
#: The introductions of sections of refusals.
INTRODUCTIONS = {
    "Workloads": "When a workload exchanges its token, the token endpoint answers these, and "
    "the codes of the token itself such as [`wrong_audience`](#wrong_audience), with status 400. "
    "`error` is `invalid_grant`, or `invalid_request` for RFC 8693. `error_description` ends with "
    "the code: `The assertion was refused: workload_not_trusted.` If it cannot decide, as for "
    "[`issuer_unavailable`](#issuer_unavailable), it answers 503 `temporarily_unavailable`. The "
    "statuses below are for your API, where a workload can send its token only with "
    "[`DIRECT_USE`](../how-to/workloads.md#kubernetes).",
}


def declared() -> list[Refusal]:
    """Return all refusals, in the order of the page."""
    own = [each for each in REFUSALS.values() if each not in vars(module).values()]
    found = [each for each in REFUSALS.values() if each not in own]
    place = next(n for n, each in enumerate(found) if SECTIONS.get(each.code) == "Availability")
    return [*found[:place], *own, *found[place:]]


def refusals() -> Iterator[str]:
    for each in declared():
        if heading := SECTIONS.get(each.code):
            yield from (f"## {heading}", "")
            if heading in INTRODUCTIONS:
                yield from (INTRODUCTIONS[heading], "")
        yield from (f"### `{each.code}`", "", f"> {each.message}", "")
        yield f"- Status: {each.status}."
        if each.error:
            yield f"- Error in `WWW-Authenticate`: `{each.error}`."
        if each.retry_after:
            yield f"- `Retry-After`: {each.retry_after} seconds."
        yield ""


PAGES = {
    "docs/reference/checks.md": system_checks.rendered,
    "docs/reference/commands.md": commands,
    "docs/reference/http-api.md": http_api.rendered,
    "docs/reference/python-api.md": python_api.rendered,
    "docs/reference/refusals.md": refusals,
    "docs/reference/settings.md": settings,
    "docs/reference/templates.md": templates,
}


def render(page: str) -> str:
    """Return the page: the part written by hand, then the generated part."""
    by_hand = (ROOT / page).read_text("utf-8").partition(MARK)[0]
    return f"{by_hand}{MARK}\n" + "\n".join(PAGES[page]()).rstrip() + "\n"
