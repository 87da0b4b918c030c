"""The page that creates a key and shows its secret once."""

import logging
import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache, caches
from django.db import connection
from django.test import Client
from django.utils import timezone
from django.views.debug import ExceptionReporter

from apikeys.models import PersonalAccessToken
from apikeys.verify import verify
from tests.factories import MembershipFactory, ProjectFactory, UserFactory
from tests.threads import at_once
from tests.web.conftest import KEYS, TOKENS, mint, open_form, secret_of, text_of


def test_new_key_shows_its_secret_and_works(page, place, ada, engine):
    response = mint(page, place)

    assert response.status_code == 200
    access = verify(secret_of(response))
    key = place.model.objects.get()
    assert (access.credential_id, access.scope) == (key.public_id, "payments:read")
    assert list(access.projects()) == [engine]
    assert abs(key.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    secret = secret_of(response)
    curl = f"curl -H &quot;Authorization: Bearer {secret}&quot; http://testserver/api/payments/"
    assert curl.replace("&quot;", '"') in response.content.decode().replace("&quot;", '"')
    assert "You will not be able to see it again" in text_of(response)


def test_project_key_stores_its_creator(page, ada, engine):
    form = {"name": "x", "expiry": "none", "scopes:payments": "payments:write"}
    page.post(f"{KEYS}new/", form | open_form(page, KEYS))
    key = engine.project_keys.get()
    assert (key.created_by, key.expires_at) == (ada, None)


def test_page_with_the_secret_is_not_cached(page, place):
    response = mint(page, place)
    assert response["Cache-Control"] == "no-store, private"
    assert response["Referrer-Policy"] == "same-origin"


def test_resubmitted_form_creates_no_second_key_and_shows_no_secret(page, place):
    form = place.form | open_form(page, place.url)
    page.post(f"{place.url}new/", form)

    again = page.post(f"{place.url}new/", form)

    assert again.status_code == 409
    assert "already created “laptop”" in text_of(again)
    key = place.model.objects.get()
    assert f'href="{place.url}{key.public_id}/"' in again.content.decode()
    assert "acme_" not in again.content.decode()


@pytest.mark.slow
def test_two_forms_create_two_keys(page, place):
    mint(page, place)
    mint(page, place)
    assert place.model.objects.count() == 2


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_concurrent_submissions_of_one_form_create_one_key(page, ada, engine):
    form = {"name": "x", "expiry": "30", "scopes:payments": "payments:read", "reach": "all"}
    form |= open_form(page, TOKENS)

    def send():
        client = Client()
        client.cookies = page.cookies
        return client.post(f"{TOKENS}new/", form).status_code

    statuses = at_once(*[send] * 4)

    assert sorted(statuses) == [200, 409, 409, 409]
    assert PersonalAccessToken.objects.count() == 1


@pytest.mark.parametrize("once", ["", "x", "Im5vdCBvdXJzIg:1abc:xyz"])
def test_form_with_invalid_signature_creates_nothing_and_keeps_the_data(page, place, once):
    response = mint(page, place, once=once)

    assert response.status_code == 422
    assert not place.model.objects.exists()
    assert 'value="laptop"' in response.content.decode()


def test_form_of_another_user_creates_nothing(page, place, engine):
    other = Client()
    other.force_login(MembershipFactory(project=engine, role="owner").user)

    response = mint(page, place, **open_form(other, place.url))

    assert response.status_code == 422
    assert not place.model.objects.exists()


def test_form_for_a_token_creates_no_project_key(page, ada):
    form = {"name": "x", "expiry": "30", "scopes:payments": "payments:read"}
    response = page.post(f"{KEYS}new/", form | open_form(page, TOKENS))
    assert response.status_code == 422


def test_expired_form_creates_nothing(page, place, monkeypatch):
    form = place.form | open_form(page, place.url)
    monkeypatch.setattr("apikeys.keys.once.MAX_AGE", -1)

    response = page.post(f"{place.url}new/", form)

    assert response.status_code == 422
    assert "open for too long" in text_of(response)
    assert not place.model.objects.exists()


def test_review_shows_the_key_and_creates_nothing(page, place):
    form = place.form | open_form(page, place.url)

    review = page.post(f"{place.url}new/", form | {"step": "review"})

    assert review.status_code == 200
    assert "See payments" in text_of(review)
    assert not place.model.objects.exists()
    # The hidden fields repeat the form, and the button submits it.
    hidden = dict(review.context["form"].hidden())
    assert secret_of(page.post(f"{place.url}new/", hidden | {"once": form["once"]}))


def test_going_back_from_the_review_keeps_the_form_data(page, place):
    form = place.form | open_form(page, place.url)
    response = page.post(f"{place.url}new/", form | {"step": "edit"})
    assert response.status_code == 200
    assert 'value="laptop"' in response.content.decode()
    assert not place.model.objects.exists()


def test_summary_shows_projects_and_expiry(page, ada):
    form = {"name": "x", "expiry": "none", "reach": "selected", "projects": "analytical-engine"}
    form |= {"scopes:payments": "payments:write", "step": "summary"}

    told = text_of(page.post(f"{TOKENS}new/", form))

    assert "Make payments, and see them" in told
    assert "Only in Analytical Engine" in told
    assert "Never expires" in told


def test_summary_of_an_incomplete_form_lists_the_missing_fields(page, place):
    response = page.post(f"{place.url}new/", {"step": "summary"})
    assert response.status_code == 200
    assert "Enter a name, an expiry" in text_of(response)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": " "}, "Enter a name."),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"expiry": ""}, "Choose an expiry."),
        ({"expiry": "31"}, "Select a valid choice"),
        ({"expiry": "longest"}, "Select a valid choice"),
        ({"expiry": "custom"}, "Enter the last day"),
        ({"expiry": "custom", "expires_on": "soon"}, "Enter a date"),
        ({"expiry": "custom", "expires_on": "2001-01-01"}, "must be in the future"),
        ({"scopes:payments": ""}, "Choose at least one permission."),
        ({"scopes:payments": "root"}, "You cannot grant the scope root."),
        ({"scopes": ["payments:read", "admin:all"]}, "You cannot grant the scope admin:all."),
    ],
)
def test_invalid_form_shows_errors_and_keeps_the_data(page, place, changes, told):
    response = mint(page, place, **changes)

    assert response.status_code == 422
    assert told in text_of(response)
    assert not place.model.objects.exists()
    assert "name" in changes or 'value="laptop"' in response.content.decode()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"reach": "selected"}, "Select at least one project."),
        ({"reach": "some"}, "Select a valid choice"),
        (
            {"reach": "selected", "projects": "not-mine"},
            "You cannot grant access to the project not-mine.",
        ),
        (
            {"reach": "selected", "projects": "nowhere"},
            "You cannot grant access to the project nowhere.",
        ),
    ],
)
def test_token_for_a_foreign_project_is_refused(page, ada, changes, told):
    ProjectFactory(slug="not-mine")
    form = {"name": "x", "expiry": "30", "scopes:payments": "payments:read"} | changes

    response = page.post(f"{TOKENS}new/", form | open_form(page, TOKENS))

    assert response.status_code == 422
    assert told in text_of(response)
    assert not PersonalAccessToken.objects.exists()


def test_scopes_that_the_user_cannot_grant_are_hidden_and_refused(client, viewer):
    client.force_login(viewer)
    offered = client.get(f"{TOKENS}new/").content.decode()
    assert 'value="payments:read"' in offered
    assert 'value="payments:write"' not in offered

    form = {"name": "x", "expiry": "30", "reach": "all", "scopes:payments": "payments:write"}
    response = client.post(f"{TOKENS}new/", form | open_form(client, TOKENS))

    assert response.status_code == 422
    assert "You cannot grant the scope payments:write." in text_of(response)
    assert not PersonalAccessToken.objects.exists()


def test_other_actions_are_checkboxes_and_write_without_read_is_offered(page, settings):
    settings.APIKEYS = settings.APIKEYS | {
        "SCOPES": {"refunds:approve": "Approve refunds", "logs:write": "Write logs", "all": "All"}
    }
    html = page.get(f"{TOKENS}new/").content.decode()
    assert 'type="checkbox" name="scopes" value="refunds:approve"' in html
    assert 'type="radio" name="scopes:logs" value="logs:write"' in html
    assert 'type="checkbox" name="scopes" value="all"' in html

    form = {"name": "x", "expiry": "30", "reach": "all", "scopes": ["refunds:approve", "all"]}
    page.post(f"{TOKENS}new/", form | {"scopes:logs": "logs:write"} | open_form(page, TOKENS))

    assert PersonalAccessToken.objects.get().scopes == ("all", "logs:write", "refunds:approve")


@pytest.mark.slow
def test_secret_is_not_stored_or_logged(page, place, caplog):
    for logger in ("", "django", "django.db.backends", "apikeys"):
        caplog.set_level(logging.DEBUG, logger)
    cache.set("here", "is what the cache holds")
    connection.force_debug_cursor = True
    try:
        response = mint(page, place)
    finally:
        connection.force_debug_cursor = False
    # Search for the whole text and for its secret part.
    secret = secret_of(response)
    part = secret.rpartition("_")[2]

    page.get(place.url)
    assert part not in str([(s.session_data, s.get_decoded()) for s in Session.objects.all()])
    assert part not in str(page.cookies)
    assert part not in str(response.headers)
    assert part not in str(response.request)
    assert part not in "".join(map(str, get_messages(response.wsgi_request)))
    logged = [*caplog.messages, *(str(vars(record)) for record in caplog.records)]
    assert [line for line in logged if "INSERT" in line], "the log of SQL was on"
    assert not [line for line in logged if part in line]
    cached = str(caches["default"]._cache)
    assert "is what the cache holds" in cached
    assert part not in cached
    assert not mail.outbox
    stored = str(list(place.model.objects.values()))
    assert part not in stored
    assert response.content.decode().count(part) == 4  # the text, and three examples


def test_error_report_does_not_contain_the_secret(page, place, monkeypatch):
    """An error occurs while a local variable holds the secret."""
    page.raise_request_exception = False
    reports, texts = [], []

    def fail(request, template, context, **kwargs):
        if template == "apikeys/secret.html":
            text = context["minted"].token
            texts.append(text)
            raise RuntimeError("The template is broken.")
        return real(request, template, context, **kwargs)

    from apikeys.web.views import pages

    real = pages.render
    monkeypatch.setattr(pages, "render", fail)

    class Handler(logging.Handler):
        def emit(self, record):
            if record.exc_info:
                reporter = ExceptionReporter(record.request, *record.exc_info)
                reports.extend([reporter.get_traceback_html(), reporter.get_traceback_text()])

    handler = Handler()
    logging.getLogger("django.request").addHandler(handler)
    try:
        assert mint(page, place).status_code == 500
    finally:
        logging.getLogger("django.request").removeHandler(handler)

    assert "The template is broken." in reports[0]
    assert not [report for report in reports if texts[0].rpartition("_")[2] in report]


def test_csrf_is_checked(ada, place):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    response = mint(client, place)
    assert response.status_code == 403
    assert not place.model.objects.exists()


def test_form_requires_a_log_in(client, db):
    response = client.get(f"{TOKENS}new/")
    assert response["Location"] == f"/login/?next={TOKENS}new/"


def test_user_without_projects_can_create_a_token(client, db):
    user = UserFactory()
    client.force_login(user)
    form = {"name": "x", "expiry": "30", "reach": "all", "scopes:payments": "payments:read"}
    assert secret_of(client.post(f"{TOKENS}new/", form | open_form(client, TOKENS)))


def test_key_without_direct_use_is_created(page, place, client):
    response = mint(page, place, exchange_only="on")

    key = place.model.objects.get()
    assert not key.direct_use
    refused = Client().get(
        "/api/token/", headers={"Authorization": f"Bearer {secret_of(response)}"}
    )
    assert refused.json()["code"] == "exchange_required"
    assert "Exchange only" in text_of(page.get(f"{place.url}{key.public_id}/"))


@pytest.mark.parametrize(
    ("configured", "shown"),
    [
        ("/api/reports/", "http://testserver/acme/api/reports/"),
        ("api/reports/", "http://testserver/acme/api/reports/"),
        ("/acme/api/reports/", "http://testserver/acme/api/reports/"),
        ("https://api.example.com/v1/", "https://api.example.com/v1/"),
        ("//api.example.com/v1/", "http://api.example.com/v1/"),
    ],
)
def test_curl_example_contains_the_script_prefix(page, place, settings, configured, shown):
    settings.FORCE_SCRIPT_NAME = "/acme"
    settings.APIKEYS = settings.APIKEYS | {"CURL_URL": configured}
    settings.STATIC_URL = "/acme/static/"
    place.form.pop("scopes:payments")

    response = mint(page, place, **{"scopes:reports": "reports:read"})

    assert f" {shown}</textarea>" in response.content.decode()
    assert '<a href="/acme/">' in response.content.decode()


def examples_of(response):
    return set(
        re.findall(
            r"http://[^\s\"'&]+",
            "".join(
                unescape(text)
                for text in re.findall(
                    r"(?s)<textarea id=\"ak-.*?</textarea>", response.content.decode()
                )
            ).replace("</textarea>", " "),
        )
    )


@pytest.mark.parametrize(
    ("configured", "scope", "shown"),
    [
        ("/api/payments/", "payments:read", "/api/payments/"),
        ("/api/payments/", "payments:write", "/api/payments/"),  # includes reading
        ("/api/payments/?page=2", "reports:read", "/api/token/"),
        ("/api/payments/", "reports:read", "/api/token/"),
        ("/api/token/", "reports:read", "/api/token/"),
        ("/nowhere/", "reports:read", "/nowhere/"),
        ("/login/", "reports:read", "/login/"),  # requires no scope of this package
    ],
)
def test_the_examples_call_what_the_new_key_can_call(
    page, place, settings, configured, scope, shown
):
    settings.APIKEYS = settings.APIKEYS | {"CURL_URL": configured}
    resource = scope.partition(":")[0]
    place.form.pop("scopes:payments")

    response = mint(page, place, **{f"scopes:{resource}": scope})

    assert examples_of(response) == {f"http://testserver{shown}"}
    text = text_of(response)
    word = "token" if place.url == TOKENS else "key"
    why = f"The {word} cannot call /api/payments/ , which needs payments:read."
    assert (why in text) is (shown == "/api/token/" and configured != shown)


def test_the_examples_call_no_view_that_refuses_the_kind_of_the_key(page, place, settings):
    settings.APIKEYS = settings.APIKEYS | {"CURL_URL": "/api/payments/", "ACCEPTS": ["oauth"]}

    response = mint(page, place)

    assert examples_of(response) == {"http://testserver/api/token/"}
    word = "personal access tokens" if place.url == TOKENS else "project keys"
    assert f"/api/payments/ accepts no {word}" in text_of(response)


def test_an_error_in_a_view_does_not_hide_the_secret(page, place, settings, monkeypatch, caplog):
    settings.APIKEYS = settings.APIKEYS | {"CURL_URL": "/api/payments/"}

    def fail(*args):
        raise RuntimeError("a view of the site")

    monkeypatch.setattr("apikeys.drf.inventory.operation_at", fail)
    response = mint(page, place)
    assert secret_of(response)
    assert examples_of(response) == {"http://testserver/api/payments/"}
    assert "Cannot find out" in caplog.text


def test_an_example_under_a_script_prefix_is_judged_too(page, place, settings):
    settings.FORCE_SCRIPT_NAME = "/acme"
    settings.STATIC_URL = "/acme/static/"
    settings.APIKEYS = settings.APIKEYS | {"CURL_URL": "/api/payments/"}
    place.form.pop("scopes:payments")

    response = mint(page, place, **{"scopes:reports": "reports:read"})

    assert examples_of(response) == {"http://testserver/acme/api/token/"}


class TestContradiction:
    """The form is refused and shown again with all its data."""

    def test_selected_project_with_all_projects_is_refused(self, page, ada):
        form = {"name": "laptop", "expiry": "30", "scopes:payments": "payments:read"}
        project = MembershipFactory(user=ada).project
        form |= {"reach": "all", "projects": [project.slug]} | open_form(page, TOKENS)

        response = page.post(f"{TOKENS}new/", form)

        assert response.status_code == 422
        assert "You selected projects" in response.content.decode()
        assert not PersonalAccessToken.objects.exists()

    def test_date_with_another_expiry_is_refused(self, page, place):
        response = mint(page, place, expiry="30", expires_on="2199-01-01")

        assert response.status_code == 422
        assert "You entered a date" in response.content.decode()
        assert not place.model.objects.exists()
