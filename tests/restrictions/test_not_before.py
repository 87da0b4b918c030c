"""Keys that start to work at a given moment: every surface refuses them before."""

import json
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.test import AsyncClient, Client, RequestFactory
from django.utils import timezone
from oauth2_provider.models import Application

from apikeys import grants, lifecycle, moments, usage
from apikeys.grants import Extent
from apikeys.importing import csv_keys
from apikeys.importing.importer import Importer
from apikeys.lifecycle import LifecycleError
from apikeys.models import LegacyKey, PersonalAccessToken, ProjectKey
from apikeys.refusals import Refused
from apikeys.restrictions import BY_NAME
from apikeys.verify import averify, verify
from tests import adapters
from tests.adapters import VIEWS
from tests.factories import bearer, mint_key, mint_pat, with_wrong_secret
from tests.signing import caller
from tests.web.conftest import TOKENS, open_form, text_of

START = datetime(2999, 5, 1, 9, 30, tzinfo=UTC)
NARROW = moments.start_of(date(2020, 5, 1))
WIDER = None
PARAMS = {"start": "2999-05-01T09:30:00+00:00"}

not_before = BY_NAME["not_before"]


def refused_key():
    return mint_key(not_before=START)


@pytest.fixture(params=["pat", "key"])
def make(request, db):
    return mint_pat if request.param == "pat" else mint_key


@pytest.fixture
def soon():
    return timezone.now() + timedelta(hours=1)


@pytest.fixture
def clock(monkeypatch):
    """Moves the clock of the site to a moment."""

    def move(to):
        monkeypatch.setattr("django.utils.timezone.now", lambda: to)

    return move


def code_of(text, **kwargs):
    with pytest.raises(Refused) as error:
        verify(text, **kwargs)
    return error.value.refusal.code


# At a request


def test_a_key_works_from_its_start_on(make, soon, clock):
    minted = make(not_before=soon)

    clock(soon - timedelta(microseconds=1))
    assert code_of(minted.token) == "not_yet_valid"

    clock(soon)
    access = verify(minted.token)
    assert access.credential_id == minted.key.public_id
    assert access.not_before == soon


def test_the_refusal_says_when_the_key_starts(client, db):
    response = client.get("/api/token/", headers=bearer(refused_key().token))

    assert response.status_code == 401
    assert response.json() == {
        "detail": "This key is not valid yet. It starts at 2999-05-01T09:30:00+00:00.",
        "code": "not_yet_valid",
    }
    assert 'error="invalid_token"' in response["WWW-Authenticate"]
    assert "2999-05-01T09:30:00+00:00" in response["WWW-Authenticate"]


def test_only_the_holder_is_told_the_start(make):
    assert code_of(with_wrong_secret(make(not_before=START).token)) == "invalid_key"


def test_a_key_that_is_over_is_refused_as_such(make):
    minted = make(not_before=START)
    lifecycle.revoke(minted.key)

    assert code_of(minted.token) == "revoked_key"
    assert code_of(make(not_before=START, state="expired").token) == "expired_key"
    assert code_of(make(not_before=START, state="pending").token) == "approval_required"


def test_a_refused_request_is_not_a_use_of_the_key(make):
    minted = make(not_before=START)
    code_of(minted.token)
    usage.flush()

    minted.key.refresh_from_db()
    assert minted.key.last_used_at is None


@pytest.mark.parametrize("adapter", VIEWS)
@pytest.mark.parametrize("handler", ["WSGI", "ASGI"])
def test_every_adapter_lets_the_key_in_on_time(adapter, handler, db, soon, clock, settings):
    settings.ROOT_URLCONF = adapters.__name__
    if adapter == "middleware":
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, "apikeys.http.BearerMiddleware"]
    headers = bearer(mint_key(not_before=soon).token)

    def status():
        if handler == "ASGI":
            return async_to_sync(AsyncClient().get)(VIEWS[adapter], headers=headers).status_code
        return Client().get(VIEWS[adapter], headers=headers).status_code

    statuses = [status()]
    clock(soon)
    statuses.append(status())

    assert statuses == [401, 200]


def test_the_gateway_lets_the_key_in_on_time(client, db, soon, clock, settings):
    routes = [{"method": "GET", "path": "/offers", "scopes": ["payments:read"]}]
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_ROUTES": routes, "GATEWAY_MAX_AGE": 60}
    asked = {"X-Original-Method": "GET", "X-Original-URI": "/offers"}
    headers = bearer(mint_key(not_before=soon).token) | asked

    early = client.get("/gateway/authorize/", headers=headers)
    clock(soon)
    on_time = client.get("/gateway/authorize/", headers=headers)

    assert (early.status_code, early.json()["code"]) == (401, "not_yet_valid")
    assert early["Cache-Control"] == "no-store"
    assert on_time.status_code == 200


def test_a_signed_request_is_refused_before_the_start(client, soon, db):
    who = caller(not_before=soon)

    def send():
        headers = dict(who.sign("GET", "http://testserver/api/token/").headers)
        return client.get("/api/token/", headers=headers)

    early = send()
    lifecycle.edit(ProjectKey.objects.get(public_id=who.key_id), not_before=None)

    assert (early.status_code, early.json()["code"]) == (401, "not_yet_valid")
    assert send().status_code == 200


# In memory


@pytest.fixture
def in_memory(settings):
    settings.APIKEYS = settings.APIKEYS | {"CACHE": {"TIMEOUT": 100_000}}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_a_cached_key_is_let_in_on_time_and_not_early(
    mint, in_memory, soon, clock, django_assert_num_queries
):
    minted = mint(not_before=soon)
    assert code_of(minted.token) == "not_yet_valid"

    with django_assert_num_queries(0):
        clock(soon - timedelta(seconds=1))
        assert code_of(minted.token) == "not_yet_valid"
        with pytest.raises(Refused, match="not_yet_valid"):
            async_to_sync(averify)(minted.token)
        clock(soon)
        assert verify(minted.token).credential_id == minted.key.public_id
        assert async_to_sync(averify)(minted.token).credential_id == minted.key.public_id


@pytest.mark.django_db(transaction=True)
def test_a_later_start_counts_for_a_cached_key_at_the_next_request(in_memory):
    minted = mint_pat()
    verify(minted.token)

    lifecycle.edit(minted.key, not_before=START)

    assert code_of(minted.token) == "not_yet_valid"


@pytest.mark.django_db(transaction=True)
def test_a_cached_token_of_a_key_follows_the_start_of_the_key(in_memory, client):
    minted = mint_key()
    token = exchanged(client, minted).json()["access_token"]
    verify(token)

    lifecycle.edit(minted.key, not_before=START)

    assert code_of(token) == "invalid_token"


# Over OAuth


def exchanged(client, minted):
    form = {"client_id": minted.key.public_id, "client_secret": minted.token}
    return client.post("/o/token/", form | {"grant_type": "client_credentials"})


def exchange(client, text):
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": text,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    return client.post("/o/token/", form)


@pytest.fixture
def introspect(client, db):
    Application.objects.create(
        client_id="service",
        client_secret="secret",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )

    def introspect(text):
        form = {"client_id": "service", "client_secret": "secret", "token": text}
        return client.post("/o/introspect/", form).json()

    return introspect


def test_a_key_is_not_exchanged_before_its_start(client, make, soon, clock):
    minted = make(not_before=soon)

    early = [exchanged(client, minted), exchange(client, minted.token)]
    clock(soon)
    on_time = [exchanged(client, minted), exchange(client, minted.token)]

    assert [each.status_code for each in early] == [401, 400]
    assert early[0].json()["error_description"] == "The key was refused: not_yet_valid."
    assert early[1].json()["error_description"] == "The subject token was refused: not_yet_valid."
    assert [each.status_code for each in on_time] == [200, 200]


def test_tokens_of_a_key_wait_when_its_start_is_moved(client, make, soon, clock):
    minted = make()
    first = exchange(client, minted.token).json()["access_token"]
    second = exchange(client, first).json()["access_token"]
    lifecycle.edit(minted.key, not_before=timezone.now() + timedelta(minutes=5))

    assert [code_of(each) for each in (first, second)] == ["invalid_token"] * 2
    assert exchange(client, first).status_code == 400
    assert lifecycle.edit(minted.key, not_before=None)
    assert {verify(each).key for each in (first, second)} == {minted.key.public_id}


def test_introspection_has_nbf_and_a_key_that_has_not_started_is_not_active(
    client, introspect, make, soon, clock
):
    minted = make(not_before=soon)

    assert introspect(minted.token) == {"active": False}
    clock(soon)
    assert introspect(minted.token)["nbf"] == int(soon.timestamp())
    token = exchange(client, minted.token).json()["access_token"]
    assert introspect(token)["nbf"] == int(soon.timestamp())
    assert "nbf" not in introspect(make().token)


# Keys that come of keys


def test_a_key_cannot_make_another_before_its_start(client, ada):
    minted = mint_pat(ada, scopes=["keys:write"], not_before=START)
    body = {"name": "child", "scopes": ["keys:write"]}

    response = client.post(
        "/api/tokens/", body, content_type="application/json", headers=bearer(minted.token)
    )

    assert (response.status_code, response.json()["code"]) == (401, "not_yet_valid")
    assert PersonalAccessToken.objects.count() == 1


def test_a_credential_whose_start_was_moved_meanwhile_makes_no_key(ada):
    minted = mint_pat(ada, scopes=["payments:read"])
    within = grants.for_tokens(ada, verify(minted.token))
    lifecycle.edit(minted.key, not_before=START)

    with pytest.raises(LifecycleError) as error:
        lifecycle.mint(user=ada, name="child", scopes=["payments:read"], within=within)

    assert error.value.code == "credential_changed"


def test_a_token_of_a_key_whose_start_was_moved_meanwhile_makes_no_key(client, ada):
    minted = mint_pat(ada)
    access = verify(exchange(client, minted.token).json()["access_token"])
    lifecycle.edit(minted.key, not_before=START)

    asked = {"name": "child", "scopes": ["payments:read"], "expires_at": access.expires_at}
    with pytest.raises(LifecycleError) as error:
        lifecycle.mint(user=ada, within=grants.for_tokens(ada, access), **asked)

    assert error.value.code == "credential_changed"


def test_the_successor_of_a_rotated_key_starts_when_the_key_does(make):
    minted = make(not_before=START)

    successor = lifecycle.rotate(minted.key)

    assert successor.key.not_before == START
    assert code_of(successor.token) == "not_yet_valid"


# The start and the expiry

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("gap", [timedelta(0), HOUR])
def test_a_key_that_would_expire_before_it_starts_is_refused(make, soon, gap):
    with pytest.raises(LifecycleError) as error:
        make(not_before=soon + gap, expires_at=soon)

    assert (error.value.code, error.value.field) == ("starts_after_expiry", "not_before")
    assert error.value.message == "The key must start before it expires."
    assert make(not_before=soon, expires_at=soon + HOUR)


def test_an_edit_and_a_rotation_keep_the_start_before_the_expiry(make, soon):
    key = make(not_before=soon, expires_at=soon + 2 * HOUR).key

    for change in (
        {"expires_at": soon},
        {"not_before": soon + 2 * HOUR},
        {"not_before": soon + 3 * HOUR, "expires_at": soon + HOUR},
    ):
        with pytest.raises(LifecycleError, match="must start before it expires"):
            lifecycle.edit(key, **change)
    with pytest.raises(LifecycleError, match="must start before it expires"):
        lifecycle.rotate(key, expires_at=soon)

    assert lifecycle.edit(key, not_before=soon + 3 * HOUR, expires_at=soon + 4 * HOUR)


@pytest.mark.parametrize("moment", [datetime(9999, 12, 31), datetime(1, 1, 1)])  # noqa: DTZ001
def test_a_start_beyond_the_calendar_is_refused(moment):
    for given in (moment, moment.replace(tzinfo=UTC)):
        with pytest.raises(LifecycleError) as error:
            not_before.parse(given)
        assert error.value.code == "invalid_start"


def test_an_earlier_start_widens_a_key_and_a_later_one_does_not(make, soon):
    had = Extent.of(make(not_before=soon).key)

    assert had.restricted({"not_before": soon - HOUR}).wider(had)
    assert had.restricted({"not_before": None}).wider(had)
    assert not had.restricted({"not_before": soon + HOUR}).wider(had)


# Days and time zones


@pytest.fixture(params=["Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "UTC"])
def zone(request, settings):
    settings.TIME_ZONE = request.param
    return ZoneInfo(request.param)


def run(*words):
    out = StringIO()
    call_command("apikeys", *words, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_date_is_the_start_of_that_day_in_the_zone_of_the_site(client, ada, zone):
    client.force_login(ada)
    body = {"name": "json", "scopes": ["payments:read"], "not_before": "2030-01-31"}
    body["expires_at"] = None
    client.post("/api/tokens/", json.dumps(body), content_type="application/json")
    form = {"name": "page", "expiry": "none", "reach": "all", "scopes:payments": "payments:read"}
    form |= open_form(client, TOKENS) | {"not_before": "2030-01-31"}
    client.post(f"{TOKENS}new/", form)
    run("mint", "--user", "ada", "--name", "command", "--scope", "payments:read",
        "--expires", "never", "--starts", "2030-01-31")  # fmt: skip
    list(Importer("csv", scopes=["payments:read"]).run(
        csv_keys.read(["key,user,name,not_before", "sk-live-8f14e45f,ada,file,2030-01-31"])
    ))  # fmt: skip
    ada.is_staff = ada.is_superuser = True
    ada.save()
    client.force_login(ada)
    admin = {"user": ada.pk, "name": "admin", "scopes": ["payments:read"], "all_projects": "on"}
    client.post("/admin/apikeys/personalaccesstoken/add/", admin | {"not_before_0": "2030-01-31"})

    found = dict(PersonalAccessToken.objects.values_list("name", "not_before"))

    expected = datetime(2030, 1, 31, tzinfo=zone)
    assert found == dict.fromkeys(("json", "page", "command", "file", "admin"), expected)


def test_a_day_without_midnight_starts_with_its_first_moment(settings):
    settings.TIME_ZONE = "Asia/Beirut"  # whose clocks go from midnight to 01:00

    assert not_before.from_option("2030-03-31") == datetime(2030, 3, 30, 22, tzinfo=UTC)


def test_a_time_without_an_offset_is_in_utc_in_json(client, ada, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    client.force_login(ada)
    body = {"name": "json", "scopes": ["payments:read"], "not_before": "2030-01-31T12:00"}

    made = client.post("/api/tokens/", body | {"expires_at": None}, content_type="application/json")

    assert made.json()["not_before"] == "2030-01-31T12:00:00+00:00"


# The pages


@pytest.fixture
def page(client, ada):
    client.force_login(ada)
    return client


def test_the_pages_say_when_a_key_starts(page, ada):
    key = mint_pat(ada, not_before=START, name="laptop").key

    assert "starts on May 1, 2999, 9:30 a.m." in text_of(page.get(TOKENS))
    of_key = text_of(page.get(f"{TOKENS}{key.public_id}/"))
    assert "Starts on May 1, 2999, 9:30 a.m." in of_key
    assert " live " not in of_key


def test_the_summary_and_the_page_of_the_secret_say_when_the_key_starts(page, ada):
    form = {"name": "laptop", "expiry": "none", "reach": "all", "scopes:payments": "payments:read"}
    form |= open_form(page, TOKENS) | {"not_before": "2999-05-01"}

    review = text_of(page.post(f"{TOKENS}new/", form | {"step": "review"}))
    secret = text_of(page.post(f"{TOKENS}new/", form))

    assert "Starts on May 1, 2999." in review
    assert "Starts on May 1, 2999. Requests are refused until then." in secret


def test_a_start_that_has_passed_is_no_notice(page, ada):
    key = mint_pat(ada, not_before=NARROW).key

    assert "starts on" not in text_of(page.get(TOKENS))
    assert "Starts on May 1, 2020" in text_of(page.get(f"{TOKENS}{key.public_id}/"))


@pytest.mark.slow
def test_the_form_keeps_the_time_of_a_start_whose_day_is_not_changed(page, ada):
    key = mint_pat(ada, not_before=START, name="laptop").key
    url = f"{TOKENS}{key.public_id}/edit/"
    form = {"expiry": "keep", "reach": "all", "scopes:payments": "payments:read"}
    shown = page.get(url)
    assert 'type="date" name="not_before" value="2999-05-01"' in shown.content.decode()
    assert "Leave empty to start now. (As it is: May 1, 2999, 9:30 a.m.)" in text_of(shown)

    page.post(url, form | {"name": "desk", "not_before": "2999-05-01"})
    key.refresh_from_db()
    assert (key.name, key.not_before) == ("desk", START)

    page.post(url, form | {"name": "desk", "not_before": "2999-05-02"})
    key.refresh_from_db()
    assert key.not_before == datetime(2999, 5, 2, tzinfo=UTC)
    assert "As it is: May" not in text_of(page.get(url))

    page.post(url, form | {"name": "desk", "not_before": ""})
    key.refresh_from_db()
    assert key.not_before is None


def test_a_start_after_the_expiry_is_an_error_of_its_field(page, ada):
    form = {"name": "laptop", "expiry": "7", "reach": "all", "scopes:payments": "payments:read"}
    form |= open_form(page, TOKENS) | {"not_before": "2999-05-01", "step": "review"}

    response = page.post(f"{TOKENS}new/", form)

    assert response.status_code == 422
    assert "The token must start before it expires" in text_of(response)
    assert 'id="id_not_before_error"' in response.content.decode()


# At the command line, and in a file to import


def test_the_command_takes_a_duration_and_lets_a_key_start_now(ada, clock, soon):
    clock(soon)
    run("mint", "--user", "ada", "--name", "CI", "--scope", "payments:read", "--starts", "2d")
    key = PersonalAccessToken.objects.get()
    assert key.not_before == soon + timedelta(days=2)
    assert f"{key.not_before:%Y-%m-%d %H:%M} UTC" in run("show", key.public_id)

    run("edit", key.public_id, "--starts", "now")
    key.refresh_from_db()
    assert key.not_before is None


@pytest.mark.parametrize("text", ["soon", "", "2030-13-01", "12", "9999-12-31"])
def test_the_command_says_what_it_takes_for_a_start(ada, text):
    with pytest.raises(CommandError, match="start"):
        run("mint", "--user", "ada", "--name", "CI", "--scope", "payments:read", "--starts", text)

    assert not PersonalAccessToken.objects.exists()


def test_an_imported_key_is_refused_before_its_start(ada, client, soon, clock, settings):
    settings.APIKEYS = settings.APIKEYS | {
        "LEGACY": {"csv": {"UNTIL": "2999-01-01", "HEADER": "X-Old"}}
    }
    text = "sk-live-8f14e45fceea167a5a36dedd4bea2543"
    lines = ["key,user,scopes,not_before", f"{text},ada,payments:read,{soon.isoformat()}"]
    list(Importer("csv").run(csv_keys.read(lines)))
    request = RequestFactory().get("/", headers={"X-Old": text})

    from apikeys.legacy.verify import authenticate

    with pytest.raises(Refused, match="not_yet_valid"):
        authenticate(request)
    clock(soon)
    assert authenticate(request).user == ada


def test_a_line_whose_key_would_expire_before_it_starts_is_skipped(ada):
    lines = ["key,user,scopes,expires,not_before", "sk-1,ada,payments:read,2030-01-01,2030-02-01"]

    (outcome,) = Importer("csv").run(csv_keys.read(lines))

    assert outcome.outcome == "starts_after_expiry"
    assert "must start before it expires" in outcome.detail
    assert not LegacyKey.objects.exists()


def test_without_time_zones_the_start_is_a_naive_moment(settings, db):
    settings.USE_TZ = False

    key = mint_pat(not_before=datetime(2999, 5, 1, 9, 30)).key  # noqa: DTZ001

    key.refresh_from_db()
    assert key.not_before == datetime(2999, 5, 1, 9, 30)  # noqa: DTZ001
    assert not_before.as_json(key.not_before).startswith("2999-05-01T09:30:00")
