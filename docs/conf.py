"""The site: ``uv run --group docs sphinx-build -W --keep-going docs docs/_build/html``."""

import re
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "apikeys"
author = "The apikeys maintainers"
project_copyright = author
release = installed("apikeys")
version = release

extensions = ["myst_parser", "sphinx_copybutton", "sphinx_external_toc"]
exclude_patterns = ["_build"]
external_toc_path = "_toc.yml"  # so that pages stay plain Markdown, which forges render
nitpicky = True
smartquotes = False  # keeps the two hyphens of options
# Pages show fragments of configuration. An unknown language is still an error.
suppress_warnings = ["misc.highlighting_failure"]
linkcheck_timeout = 10

myst_heading_anchors = 4
myst_url_schemes = ["http", "https", "mailto"]

copybutton_prompt_text = "$ "  # copies the commands of a block, not their output

html_theme = "furo"
pygments_style = "default"
pygments_dark_style = "github-dark"
html_title = f"apikeys {release}"
html_favicon = "../apikeys/static/apikeys/icon.svg"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_search_scorer = str(Path(__file__).with_name("search.js"))
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "sidebar_hide_name": False,
    "light_css_variables": {"color-brand-primary": "#1f5fbf", "color-brand-content": "#1f5fbf"},
    "dark_css_variables": {"color-brand-primary": "#8ab4f8", "color-brand-content": "#8ab4f8"},
}


TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
HEADER = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
#: A browser forgets that a table is one when CSS shows its cells as blocks.
ROLES = {"table": "table", "thead": "rowgroup", "tbody": "rowgroup", "tr": "row", "td": "cell"}


def label_cells(app: Sphinx, name: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Give each cell the header of its column, for phones: docs.css shows rows as blocks there."""
    if body := context.get("body"):
        context["body"] = TABLE.sub(lambda table: _labelled(table[0]), body)


def _labelled(table: str) -> str:
    labels = [re.sub(r"<[^>]+>", "", each).strip() for each in HEADER.findall(table)]

    def row(found: re.Match[str]) -> str:
        cells = iter(labels)
        return re.sub(r"<td\b", lambda _: f'<td data-label="{next(cells)}"', found[0])

    table = ROW.sub(row, table)
    for tag, role in ROLES.items():
        table = re.sub(rf"<{tag}\b", f'<{tag} role="{role}"', table)
    return re.sub(r"<th\b", '<th role="columnheader"', table)


REFERENCE = Path(__file__).with_name("reference")
#: The headings of a page that define a name, and the page.
DEFINED = {
    "settings": r"^### (\w+)$",
    "refusals": r"^### `(\w+)`$",
    "checks": r"^### ([EW]\d{3})$",
    "commands": r"^### (apikeys\S* [\w-]+.*)$",
}


def places() -> dict[str, str]:
    """Return where each setting, refusal, check and command is explained, by its name."""
    found = {}
    for page, heading in DEFINED.items():
        text = (REFERENCE / f"{page}.md").read_text("utf-8")
        for name in re.findall(heading, text, re.MULTILINE):
            anchor = re.sub(r"[^\w -]", "", name).lower().replace(" ", "-")
            words = name.split()
            spans = [name, f"apikeys.{name}"] if page == "checks" else [name]
            spans = [" ".join(["manage.py", *words[:2]])] if page == "commands" else spans
            found |= dict.fromkeys(spans, f"reference/{page}#{anchor}")
    return found


def link_names(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Link each name in the changelog to the page that explains it."""
    if page != "changelog" or app.builder.format != "html":
        return
    known = places()
    for literal in list(doctree.findall(nodes.literal)):
        name = literal.astext()
        target = known.get(name) or known.get(" ".join(name.split()[:3]))
        if target and not isinstance(literal.parent, nodes.reference):
            to, _, anchor = target.partition("#")
            uri = f"{app.builder.get_relative_uri(page, to)}#{anchor}"
            literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=uri))


def setup(app: Sphinx) -> None:
    app.connect("doctree-resolved", link_names)
    for name in ("caddy", "haproxy"):  # Pygments has no lexer for them
        app.add_lexer(name, TextLexer)
    app.connect("html-page-context", label_cells)
