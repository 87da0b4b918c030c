"""The site: ``uv run --group docs sphinx-build -W --keep-going docs docs/_build/html``."""

from importlib.metadata import version as installed

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

project = "apikeys"
author = "The apikeys maintainers"
project_copyright = author
release = installed("apikeys")
version = release

extensions = ["myst_parser", "sphinx_copybutton", "sphinx_external_toc"]
exclude_patterns = ["_build"]
external_toc_path = "_toc.yml"  # the navigation: the pages stay plain Markdown for a forge
nitpicky = True
smartquotes = False  # options begin with two hyphens
# Configuration is shown in fragments; a language that there is not is still an error.
suppress_warnings = ["misc.highlighting_failure"]
linkcheck_timeout = 10

myst_heading_anchors = 4
myst_url_schemes = ["http", "https", "mailto"]

copybutton_prompt_text = "$ "  # of a block with output only the commands are copied

html_theme = "furo"
pygments_style = "default"
pygments_dark_style = "github-dark"
html_title = f"apikeys {release}"
html_favicon = "../apikeys/static/apikeys/icon.svg"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "sidebar_hide_name": False,
    "light_css_variables": {"color-brand-primary": "#1f5fbf", "color-brand-content": "#1f5fbf"},
    "dark_css_variables": {"color-brand-primary": "#8ab4f8", "color-brand-content": "#8ab4f8"},
}


def setup(app: Sphinx) -> None:
    app.add_lexer("caddy", TextLexer)  # Pygments knows none
