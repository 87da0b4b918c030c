"""Credentials that are sent in another form than ``Authorization: Bearer``."""

import base64
import re

import pytest
from django.test import Client

from apikeys import refusals
from apikeys.http import header
from tests.adapters import VIEWS
from tests.documents import table
from tests.factories import UserFactory, mint_pat

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.adapters")]

# Where a credential is required. The middleware leaves that to the view.
WHERE = [*(url for name, url in VIEWS.items() if name != "middleware"), "/gateway/authorize/"]

FORMS = [
    ("{}", "`<credential>`"),
    ("Token {}", "`Token <credential>`"),
    ("token {}", "`Token <credential>`"),
    ("ApiKey {}", "`ApiKey <credential>`"),
    ("API-KEY {}", "`Api-Key <credential>`"),
    ("Basic {}", "`Basic <credential>`"),
    ("JWT  {}", "`JWT <credential>`"),
    ("Token\t{}", "`Token <credential>`"),
    ("Secret {}", "`<scheme> <credential>`"),
    ("{0} {0}", "`<scheme> <credential>`"),
    ("Token={}", "`<credential>`"),
]


def ask(where, value):
    headers = {"Authorization": value, "X-Original-Method": "GET", "X-Original-URI": "/x"}
    return Client().get(where, headers=headers)


@pytest.fixture
def gateway(settings):
    settings.APIKEYS = {**settings.APIKEYS, "GATEWAY_PROXY": "nginx"}


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("where", WHERE)
def test_the_answer_names_the_form_and_repeats_no_secret(where):
    text = mint_pat().token
    for form, named in FORMS:
        response = ask(where, form.format(text))
        body = response.content.decode()
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated"), form
        assert f"has the form {named}" in body, form
        assert "Send `Authorization: Bearer <credential>`" in body
        assert text not in body + str(response.headers)
        assert text[-20:] not in body + str(response.headers)
        assert response["WWW-Authenticate"].startswith('Bearer realm="api", ')


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("where", WHERE)
def test_without_the_header_no_credential_was_sent(where):
    for value in ("", " "):
        assert "No credential was sent" in ask(where, value).json()["detail"]


def documented_headers():
    """Return each header on the page of refusals, its answer, and whether BASIC_AUTH is on."""
    for forms, status, code in table("docs/reference/refusals.md", "`Authorization` header"):
        shown = [form for form in re.findall(r"`([^`]+)`", forms) if form != "BASIC_AUTH"]
        for form in shown or [""]:
            yield form, int(status), code.strip("`"), "BASIC_AUTH" in forms


def test_the_page_has_forms_of_every_answer():
    codes = {code for _, _, code, _ in documented_headers()}
    assert codes >= {"not_authenticated", "invalid_request", "invalid_token", "invalid_basic"}


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(("form", "status", "code", "basic"), [*documented_headers()])
def test_each_documented_header_gets_the_documented_answer(
    settings, where, form, status, code, basic
):
    settings.APIKEYS = {**settings.APIKEYS, "BASIC_AUTH": basic}
    text = mint_pat().token
    value = form.replace("<key>", text)
    if encoded := re.search("<base64 of (.*)>", value):
        pair = encoded[1].replace("key:", f"{text}:")
        value = value.replace(encoded[0], base64.b64encode(pair.encode()).decode())
    response = ask(where, value)
    if status == 200:
        assert response.status_code == (403 if "gateway" in where else 200)  # no route leads there
        return
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_a_user_who_is_logged_in_needs_no_header(client):
    client.force_login(UserFactory())
    assert client.get("/api/tokens/", headers={"Authorization": "Basic x"}).status_code == 200


def test_the_list_of_refusals_keeps_the_general_sentence():
    assert refusals.REFUSALS["not_authenticated"] is refusals.NOT_AUTHENTICATED


def test_forms_are_translated(settings):
    class Request:
        META = {"HTTP_AUTHORIZATION": "Token x"}

    assert header.not_authenticated(Request()).code == "not_authenticated"
