"""The pages look the same inside Bootstrap, Tailwind and Bulma, in a real Chromium."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.docs.screenshots import take
from tests.factories import mint_pat

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

FRAMEWORKS = {
    "bootstrap-3": ("rest_framework", "rest_framework/css/bootstrap.min.css"),
    "bootstrap-4": ("django_static_bootstrap", "bootstrap/css/bootstrap.min.css"),
    "bootstrap-5": ("js_lib_bootstrap5", "js-lib-bootstrap5/css/bootstrap.min.css"),
    "tailwind": ("unfold", "unfold/css/styles.css"),
    "bulma": ("bulma", "bulma/css/style.min.css"),
}

BASE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{% block title %}}{{% endblock %}}</title>
<style>{{% verbatim %}}{style}{{% endverbatim %}}</style></head><body><header>Acme</header>
<main class="container section prose" style="max-width: none">
{{% block content %}}{{% endblock %}}</main></body></html>"""

#: The head of a site in the docs: its menu, and what it says on dark screens.
SITES = {
    "bootstrap-5": (
        '<nav class="navbar navbar-expand bg-primary" data-bs-theme="dark">'
        '<div class="container"><a class="navbar-brand" href="/">Acme Payments</a>'
        '<ul class="navbar-nav"><li class="nav-item"><a class="nav-link" href="/">Payments</a></li>'
        '<li class="nav-item"><a class="nav-link active" href="">API</a></li></ul></div></nav>',
        'data-bs-theme="dark"',
    ),
    "tailwind": (
        '<nav class="flex items-center gap-6 px-6 py-4 text-white bg-blue-700">'
        '<a class="font-semibold" href="/">Acme Payments</a><a href="/">Payments</a>'
        '<a class="font-medium" href="">API</a></nav>',
        'class="dark" style="color-scheme: dark; background: #121212"',
    ),
}

PICTURES = {
    ("bootstrap-5", "/settings/keys/", "light", 1000): "base-bootstrap-5",
    ("tailwind", "/settings/keys/", "dark", 375): "base-tailwind-dark",
}
ON_ITS_BACKGROUND = ":root { --apikeys-embedded: transparent; }"

#: The computed style of everything in the page. Lengths in em of the page, whatever its size.
STYLES = """() => {
    const root = document.querySelector(".ak-embedded");
    const size = parseFloat(getComputedStyle(root).fontSize);
    const names = ["display", "float", "color", "backgroundColor", "fontWeight", "fontStyle",
        "textTransform", "letterSpacing", "listStyleType", "textDecorationLine", "boxShadow",
        "fontSize", "lineHeight", "textAlign", "borderTopWidth", "borderBottomWidth",
        "borderLeftWidth", "paddingTop", "paddingLeft", "paddingRight", "paddingBottom",
        "marginTop", "marginBottom", "marginLeft", "minWidth", "maxHeight"];
    const found = {};
    for (const [n, element] of [...root.querySelectorAll("*")].entries()) {
        const style = getComputedStyle(element);
        const path = n + " " + element.tagName.toLowerCase() + "." + element.className;
        for (const name of names) {
            const value = style[name];
            const isBorder = name.startsWith("border");
            found[path + " " + name] = /^-?[\\d.]+px$/.test(value) && !isBorder
                ? parseFloat(value) / size : value;
        }
    }
    return found;
}"""


def style_of(framework):
    if framework is None:
        return ""
    package, path = FRAMEWORKS[framework]
    folder = Path(find_spec(package).origin).parent
    return (folder / "static" / path).read_text(encoding="utf-8")


@pytest.fixture
def show(chromium, live_server, ada, engine, settings, tmp_path, client):
    """Return a function that opens a page inside a framework's base template."""
    mint_pat(ada, name="laptop")
    client.force_login(ada)
    cookie = client.cookies["sessionid"].value
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tmp_path]}]
    contexts = []

    def show(framework, url, width=1280, scheme="light", height=900, with_menu=False):
        name = f"{framework}-{scheme}-{with_menu}.html"  # one each: Django remembers templates
        base = BASE.format(style=style_of(framework))
        if with_menu:
            menu, on_dark = SITES[framework]
            base = base.replace("<header>Acme</header>", menu).replace(" prose", "")
            base = base.replace("</head>", f"<style>{ON_ITS_BACKGROUND}</style></head>")
            if scheme == "dark":
                base = base.replace("<html ", f"<html {on_dark} ")
        (tmp_path / name).write_text(base)
        settings.APIKEYS = settings.APIKEYS | {"BASE_TEMPLATE": name, "PAGES_CSP": None}
        context = chromium.new_context(
            base_url=live_server.url,
            color_scheme=scheme,
            viewport={"width": width, "height": height},
        )
        contexts.append(context)
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        page = context.new_page()
        page.goto(url)
        expect(page.locator(".ak-embedded h1")).to_be_visible()
        if folder := os.environ.get("SHOW"):
            page.evaluate("document.activeElement.blur()")
            name = url.strip("/").replace("/", "-").replace("?", "-")
            page.screenshot(
                path=f"{folder}/{framework}-{name}-{width}-{scheme}.png", full_page=True
            )
        return page

    yield show
    for context in contexts:
        context.close()


def is_same(one, other):
    """Pixels are rounded, and text is shaped for its size."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return abs(one - other) < 0.12


@pytest.mark.parametrize("url", ["/settings/keys/", "/settings/keys/new/"])
def test_page_looks_the_same_in_every_framework(show, url):
    plain = show(None, url).evaluate(STYLES)
    assert len(plain) > 500
    for framework in FRAMEWORKS:
        styles = show(framework, url).evaluate(STYLES)
        assert styles.keys() == plain.keys()
        changed = {
            name: (plain[name], styles[name])
            for name in plain
            if not is_same(plain[name], styles[name])
            and not name.endswith("ak-frame marginLeft")
            and " option" not in name  # the browser draws them
        }
        assert not changed, framework


@pytest.mark.parametrize(
    ("scheme", "text", "background"),
    [
        (None, "rgb(31, 35, 40)", "rgb(255, 255, 255)"),  # Bulma is dark here, and does not say so
        ("light dark", "rgb(230, 237, 243)", "rgb(18, 18, 18)"),
    ],
)
def test_colours_follow_the_color_scheme_of_the_site(show, scheme, text, background):
    page = show("bulma", "/settings/keys/", width=375, scheme="dark")
    if scheme is not None:
        page.locator(":root").evaluate(
            "(root, scheme) => { root.style.colorScheme = scheme }", scheme
        )
    colours = page.locator(".ak-embedded").evaluate(
        "element => [getComputedStyle(element).color, getComputedStyle(element).backgroundColor]"
    )
    assert colours == [text, background]


def test_a_token_is_created_inside_a_base_template(show):
    page = show("bootstrap-5", "/settings/keys/new/")
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("group", name="payments").get_by_label("Read and write").check()
    expect(page.locator("#ak-summary")).to_contain_text("Make payments, and see them")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_label("Personal access token", exact=True)).not_to_have_value("")


@pytest.mark.parametrize(
    ("scheme", "width", "height"),
    [
        ("light", 1000, 560),
        ("dark", 375, 720),
        pytest.param("dark", 1000, 560, marks=pytest.mark.long),
        pytest.param("light", 375, 720, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("framework", SITES)
def test_pictures_of_the_docs(show, framework, scheme, width, height):
    """The pages inside a whole site, on light and dark screens, wide and narrow.

    The long tests also look at the other pairs of a color scheme and a width.
    """
    for url in ("/settings/keys/", "/settings/keys/new/"):
        page = show(framework, url, width, scheme, height, with_menu=True)
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        if (framework, url, scheme, width) in PICTURES:
            take(page, PICTURES[framework, url, scheme, width])
