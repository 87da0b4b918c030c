"""Minting: one page, one key, one look at the secret."""

import logging
from datetime import timedelta

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


def test_the_secret_is_shown_and_works(page, place, ada, engine):
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
    assert "only time that it is shown" in text_of(response)


def test_who_made_a_project_key_is_known(page, ada, engine):
    form = {"name": "x", "expiry": "none", "scopes:payments": "payments:write"}
    page.post(f"{KEYS}new/", form | open_form(page, KEYS))
    key = engine.project_keys.get()
    assert (key.created_by, key.expires_at) == (ada, None)


def test_the_answer_is_kept_nowhere(page, place):
    response = mint(page, place)
    assert response["Cache-Control"] == "no-store, private"
    assert response["Referrer-Policy"] == "same-origin"


def test_sending_the_form_again_makes_no_second_key_and_shows_no_secret(page, place):
    form = place.form | open_form(page, place.url)
    page.post(f"{place.url}new/", form)

    again = page.post(f"{place.url}new/", form)

    assert again.status_code == 409
    assert "made the key laptop already" in text_of(again)
    key = place.model.objects.get()
    assert f'href="{place.url}{key.public_id}/"' in again.content.decode()
    assert "acme_" not in again.content.decode()


def test_two_keys_take_two_forms(page, place):
    mint(page, place)
    mint(page, place)
    assert place.model.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_form_sent_twice_at_the_same_moment_makes_one_key(page, ada, engine):
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
def test_a_form_that_is_not_ours_makes_nothing_and_loses_nothing(page, place, once):
    response = mint(page, place, once=once)

    assert response.status_code == 422
    assert not place.model.objects.exists()
    assert 'value="laptop"' in response.content.decode()


def test_a_form_of_somebody_else_makes_nothing(page, place, engine):
    other = Client()
    other.force_login(MembershipFactory(project=engine, role="owner").user)

    response = mint(page, place, **open_form(other, place.url))

    assert response.status_code == 422
    assert not place.model.objects.exists()


def test_a_form_for_a_token_makes_no_project_key(page, ada):
    form = {"name": "x", "expiry": "30", "scopes:payments": "payments:read"}
    response = page.post(f"{KEYS}new/", form | open_form(page, TOKENS))
    assert response.status_code == 422


def test_a_stale_form_makes_nothing(page, place, monkeypatch):
    form = place.form | open_form(page, place.url)
    monkeypatch.setattr("apikeys.web.views._FORM_AGE", -1)

    response = page.post(f"{place.url}new/", form)

    assert response.status_code == 422
    assert "open for too long" in text_of(response)
    assert not place.model.objects.exists()


def test_the_review_tells_and_makes_nothing(page, place):
    form = place.form | open_form(page, place.url)

    review = page.post(f"{place.url}new/", form | {"step": "review"})

    assert review.status_code == 200
    assert "See payments" in text_of(review)
    assert not place.model.objects.exists()
    # Its hidden fields are the form; its button is the one that makes the key.
    hidden = dict(review.context["form"].hidden())
    assert secret_of(page.post(f"{place.url}new/", hidden | {"once": form["once"]}))


def test_back_from_the_review_nothing_is_lost(page, place):
    form = place.form | open_form(page, place.url)
    response = page.post(f"{place.url}new/", form | {"step": "edit"})
    assert response.status_code == 200
    assert 'value="laptop"' in response.content.decode()
    assert not place.model.objects.exists()


def test_the_summary_says_where_and_how_long(page, ada):
    form = {"name": "x", "expiry": "none", "reach": "selected", "projects": "analytical-engine"}
    form |= {"scopes:payments": "payments:write", "step": "summary"}

    told = text_of(page.post(f"{TOKENS}new/", form))

    assert "Make payments, and see them" in told
    assert "In Analytical Engine only" in told
    assert "It never expires" in told


def test_a_summary_of_half_a_form_asks_for_the_rest(page, place):
    response = page.post(f"{place.url}new/", {"step": "summary"})
    assert response.status_code == 200
    assert "Give it a name" in text_of(response)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": " "}, "Give the key a name."),
        ({"name": "x" * 101}, "at most 100 characters"),
        ({"expiry": ""}, "Choose when it expires."),
        ({"expiry": "31"}, "Select a valid choice"),
        ({"expiry": "longest"}, "Select a valid choice"),
        ({"expiry": "custom"}, "Enter the last day"),
        ({"expiry": "custom", "expires_on": "soon"}, "Enter a date"),
        ({"expiry": "custom", "expires_on": "2001-01-01"}, "must be in the future"),
        ({"scopes:payments": ""}, "at least one thing"),
        ({"scopes:payments": "root"}, "You cannot give the scope root."),
        ({"scopes": ["payments:read", "admin:all"]}, "You cannot give the scope admin:all."),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_lost(page, place, changes, told):
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
        ({"reach": "selected", "projects": "not-mine"}, "You cannot give the project not-mine."),
        ({"reach": "selected", "projects": "nowhere"}, "You cannot give the project nowhere."),
    ],
)
def test_a_token_reaches_its_users_projects_only(page, ada, changes, told):
    ProjectFactory(slug="not-mine")
    form = {"name": "x", "expiry": "30", "scopes:payments": "payments:read"} | changes

    response = page.post(f"{TOKENS}new/", form | open_form(page, TOKENS))

    assert response.status_code == 422
    assert told in text_of(response)
    assert not PersonalAccessToken.objects.exists()


def test_only_what_one_may_give_is_offered_and_taken(client, viewer):
    client.force_login(viewer)
    offered = client.get(f"{TOKENS}new/").content.decode()
    assert 'value="payments:read"' in offered
    assert 'value="payments:write"' not in offered

    form = {"name": "x", "expiry": "30", "reach": "all", "scopes:payments": "payments:write"}
    response = client.post(f"{TOKENS}new/", form | open_form(client, TOKENS))

    assert response.status_code == 422
    assert "You cannot give the scope payments:write." in text_of(response)
    assert not PersonalAccessToken.objects.exists()


def test_other_actions_are_checkboxes_and_a_lone_write_is_offered(page, settings):
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


def test_the_secret_leaks_nowhere(page, place, caplog):
    for logger in ("", "django", "django.db.backends", "apikeys"):
        caplog.set_level(logging.DEBUG, logger)
    cache.set("here", "is what the cache holds")
    connection.force_debug_cursor = True
    try:
        response = mint(page, place)
    finally:
        connection.force_debug_cursor = False
    # All of the text is looked for, and its secret part alone.
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
    assert response.content.decode().count(part) == 2  # the text, and the curl


def test_an_error_report_has_no_secret(page, place, monkeypatch):
    """Whatever fails while the secret is at hand."""
    page.raise_request_exception = False
    reports, texts = [], []

    def fail(request, template, context, **kwargs):
        if template == "apikeys/secret.html":
            text = context["minted"].token
            texts.append(text)
            raise RuntimeError("The template is broken.")
        return real(request, template, context, **kwargs)

    from apikeys.web import views

    real = views.render
    monkeypatch.setattr(views, "render", fail)

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


def test_it_takes_a_log_in(client, db):
    response = client.get(f"{TOKENS}new/")
    assert response["Location"] == f"/login/?next={TOKENS}new/"


def test_somebody_in_no_project_may_mint(client, db):
    user = UserFactory()
    client.force_login(user)
    form = {"name": "x", "expiry": "30", "reach": "all", "scopes:payments": "payments:read"}
    assert secret_of(client.post(f"{TOKENS}new/", form | open_form(client, TOKENS)))


def test_a_key_for_exchange_only(page, place, client):
    response = mint(page, place, exchange_only="on")

    key = place.model.objects.get()
    assert not key.direct_use
    refused = Client().get(
        "/api/token/", headers={"Authorization": f"Bearer {secret_of(response)}"}
    )
    assert refused.json()["code"] == "exchange_required"
    assert "For exchange only" in text_of(page.get(f"{place.url}{key.public_id}/"))
