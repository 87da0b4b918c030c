"""The pages inside a site's own base template, and their Content-Security-Policy."""

import pytest

from apikeys.checks import check_settings
from apikeys.checks.pages import check_pages
from tests.factories import mint_pat
from tests.web.conftest import TOKENS, mint, secret_of, text_of

#: A site with blocks of the same names as ours.
BASE = """<!doctype html>
<html><head><title>{% block title %}Acme{% endblock %} | Acme</title></head>
<body>{% block header %}<header>Acme's header</header>{% endblock %}
{% block nav %}<nav>Acme's menu</nav>{% endblock %}
{% block messages %}{% for message in messages %}<p>{{ message }}</p>{% endfor %}{% endblock %}
<main>{% block content %}Nothing here{% endblock %}</main>
{% block footer %}<footer>Acme's footer for {{ user.get_username }}</footer>{% endblock %}
</body></html>"""


@pytest.fixture
def site(settings, tmp_path):
    """Return a function that writes a template of the site."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tmp_path]}]
    return write


@pytest.fixture
def configure(settings):
    def configure(**changes):
        settings.APIKEYS = settings.APIKEYS | changes

    return configure


@pytest.fixture
def base(site, configure):
    site("base.html", BASE)
    configure(BASE_TEMPLATE="base.html")


@pytest.mark.usefixtures("base")
def test_page_appears_inside_the_base_template(page):
    html = page.get(TOKENS).content.decode()

    assert "<title>Personal access tokens | Acme</title>" in html
    for text in ("Acme's header", "Acme's menu", "No active tokens.", "footer for ada"):
        assert text in html
    assert "Nothing here" not in html
    assert html.index("<main>") < html.index('class="ak-body ak-embedded"') < html.index("</main>")
    assert [html.count(tag) for tag in ("<!doctype", "<html", "<main", "ak-header")] == [1, 1, 1, 0]
    assert 'aria-current="true">Tokens</a>' in html  # the tabs
    assert html.count("apikeys/pages.css") == html.count("apikeys/pages.js") == 1


@pytest.mark.usefixtures("base")
def test_blocks_of_the_site_and_of_the_pages_do_not_meet(page):
    """The page has an empty block ``nav``, and the site's ``nav`` stays."""
    html = page.get(f"{TOKENS}confirm/").content.decode()
    assert "Acme's menu" in html
    assert 'class="ak-tabs"' not in html
    assert "Confirm your password" in html


@pytest.mark.slow
@pytest.mark.usefixtures("base")
def test_secret_is_shown_inside_the_base_template(page, place):
    made = mint(page, place, step="make")
    assert secret_of(made)
    assert "Acme's header" in made.content.decode()
    assert made["Cache-Control"] == "no-store, private"
    assert place.model.objects.count() == 1


@pytest.mark.slow
@pytest.mark.usefixtures("base")
def test_messages_are_shown_once(page, ada):
    key = mint_pat(ada, name="laptop").key
    page.post(f"{TOKENS}{key.public_id}/revoke/", {})
    assert text_of(page.get(TOKENS)).count("Revoked") == 1


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("path", ["authorize/", "device/"])
def test_oauth_pages_appear_inside_the_base_template(page, base, path):
    html = page.get(f"/o/{path}").content.decode()
    assert "Acme's header" in html
    assert "ak-embedded" in html


def test_blocks_may_have_other_names(page, site, configure):
    site(
        "layout.html",
        "<title>{% block head_title %}{% endblock %}</title>{% block all %}{% endblock %}",
    )
    site(
        "base.html",
        "{% extends 'layout.html' %}"
        "{% block all %}<b>{% block main %}{% endblock %}</b>{% endblock %}",
    )
    configure(BASE_TEMPLATE="base.html", BASE_BLOCK="main", BASE_TITLE_BLOCK="head_title")
    html = page.get(TOKENS).content.decode()
    assert html.startswith("<title>Personal access tokens</title><b><div")
    assert html.rstrip().endswith("</b>")

    configure(BASE_TITLE_BLOCK=None)
    assert page.get(TOKENS).content.decode().startswith("<title></title>")


def test_base_template_sees_no_variable_of_the_page(page, site, configure):
    site(
        "base.html",
        "({{ owner }}{{ section }}{{ view }}|{{ user }}){% block content %}{% endblock %}",
    )
    configure(BASE_TEMPLATE="base.html")
    assert page.get(TOKENS).content.decode().startswith("(|ada)")


def test_names_are_escaped_once(page, site, configure, ada):
    site(
        "base.html",
        "<title>{% block title %}{% endblock %}</title>{% block content %}{% endblock %}",
    )
    configure(BASE_TEMPLATE="base.html")
    key = mint_pat(ada, name="<b> & {{ user }}").key
    html = page.get(f"{TOKENS}{key.public_id}/").content.decode()
    assert html.startswith("<title>&lt;b&gt; &amp; {{ user }}</title>")
    assert "<b>" not in html


@pytest.mark.usefixtures("base")
def test_own_tabs_appear_inside_the_base_template(page, site):
    site(
        "apikeys/base.html",
        "{% extends 'apikeys/base.html' %}{% block more_tabs %}<li>Billing</li>{% endblock %}"
        "{% block head %}<link rel=stylesheet href=/acme.css>{% endblock %}",
    )
    html = page.get(TOKENS).content.decode()
    assert "<li>Billing</li>" in html
    assert "/acme.css" in html
    assert "Acme's header" in html


# Content-Security-Policy


def test_policy_is_the_sites_own(page, configure):
    own = "default-src 'self' https://cdn.example; form-action 'self'"
    configure(PAGES_CSP=own)
    response = page.get(TOKENS)
    assert response["Content-Security-Policy"] == own
    assert response["X-Frame-Options"] == "DENY"
    consent = page.get("/o/authorize/")
    assert consent["Content-Security-Policy"] == "default-src 'self' https://cdn.example"


def test_policy_may_be_left_to_a_middleware(page, configure):
    configure(PAGES_CSP=None)
    response = page.get(TOKENS)
    assert "Content-Security-Policy" not in response
    assert response["X-Frame-Options"] == "DENY"
    assert response["Cache-Control"] == "no-store, private"


@pytest.mark.parametrize(
    "wrong", ["none", "", "site", "default-src 'self'\r\nX: y", ["strict"], True]
)
def test_invalid_policy_is_a_check_error(configure, wrong):
    configure(PAGES_CSP=wrong)
    assert [m.id for m in check_settings()] == ["apikeys.E093"]


# System checks


def ids():
    return [message.id for message in check_pages()]


def test_checks_are_silent_without_a_base_template():
    assert ids() == []


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("policy", ["strict", None, "default-src *"])
def test_check_names_the_policy_until_it_is_chosen(configure, policy):
    assert ids() == ["apikeys.W090"]
    configure(PAGES_CSP=policy)
    assert ids() == []


def test_check_reports_a_missing_template(site, configure):
    configure(BASE_TEMPLATE="nowhere.html")
    assert ids() == ["apikeys.E096"]
    site("base.html", "{% extends 'gone.html' %}")
    configure(BASE_TEMPLATE="base.html")
    (error,) = check_pages()
    assert "gone.html" in error.msg


def test_check_reports_a_missing_block(site, configure):
    site("layout.html", "{% block all %}{% endblock %}")
    site(
        "base.html",
        "{% extends 'layout.html' %}{% block all %}{% block main %}{% endblock %}{% endblock %}",
    )
    configure(BASE_TEMPLATE="base.html", PAGES_CSP="strict")
    (error,) = check_pages()
    assert error.id == "apikeys.E097"
    assert error.hint.endswith("Available: all, main.")
    site("chosen.html", "{% extends layout %}{% block x %}{% endblock %}")
    configure(BASE_TEMPLATE="chosen.html")
    assert ids() == []  # only known at run time
