"""Draw the picture of the packages from the layers in pyproject.toml."""

import re
import tomllib
from html import escape

from tests.documents import ROOT

PICTURE = ROOT / "docs/images/architecture.svg"
#: What the packages of each layer do, from the top.
ROLES = (
    "Optional apps, and the app config",
    "Tokens of trusted issuers, an optional app",
    "Ways to manage keys",
    "Frameworks, imports, leaks",
    "Credentials that reach a project",
    "Change keys, handle requests, send mail",
    "Keys of other packages, signed requests",
    "Verify a credential",
    "Record use, hash, audit, limit grants",
    "Count requests, cache rows, show keys",
    "Policy, and the caller of a request",
    "Tables",
    "Restrictions of keys, one module each",
    "Databases, error classes",
    "Scopes, settings, redaction",
    "Shared vocabulary",
)
WIDTH, ROW, GAP = 920, 50, 14


def layers() -> list[list[str]]:
    """The names in each layer of the import contract, from the top."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layer = next(each for each in contracts["contracts"] if each["id"] == "layers")
    return [re.findall(r"\w+", names) for names in layer["layers"]]


def draw() -> str:
    rows = list(zip(ROLES, layers(), strict=True))
    height = 40 + len(rows) * (ROW + GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="14" role="img" aria-labelledby="t d">',
        '  <title id="t">The packages of apikeys</title>',
        f'  <desc id="d">Each layer imports only from the layers below it. From the top: '
        f"{'; '.join(', '.join(names) for _, names in rows)}.</desc>",
        "  <style>",
        "    .bg { fill: #f6f7f9 } .box { fill: #fff; stroke: #8a94a6; stroke-width: 1.5 }",
        "    text { fill: #1c2430 } .s { fill: #556072 } .hot { stroke: #2457c5 }",
        "    .mono { font-family: ui-monospace, monospace }",
        "    .line { stroke: #8a94a6; stroke-width: 1.5 } .head { fill: #8a94a6 }",
        "    @media (prefers-color-scheme: dark) {",
        "      .bg { fill: #14181f } .box { fill: #1e242e } text { fill: #e8ecf2 }",
        "      .s { fill: #a3adbd } .hot { stroke: #7aa2ff }",
        "    }",
        "  </style>",
        '  <defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker></defs>',
        f'  <rect class="bg" width="{WIDTH}" height="{height}" rx="12"/>',
    ]
    for number, (role, names) in enumerate(rows):
        top = 24 + number * (ROW + GAP)
        hot = " hot" if "verify" in names else ""
        lines += [
            f'  <rect class="box{hot}" x="330" y="{top}" width="560" height="{ROW}" rx="8"/>',
            f'  <text class="s" x="30" y="{top + 30}">{escape(role)}</text>',
            f'  <text class="mono" x="348" y="{top + 30}">{" · ".join(names)}</text>',
        ]
        if number < len(rows) - 1:
            bottom = top + ROW
            lines.append(
                f'  <path class="line" d="M610 {bottom}V{bottom + GAP - 1}" marker-end="url(#a)"/>'
            )
    return "\n".join([*lines, "</svg>", ""])
