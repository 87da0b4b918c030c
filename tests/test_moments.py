"""A date without a time means the end of the day in the site's time zone, everywhere."""

import io
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.http import QueryDict
from django.test import Client
from django.utils import timezone

from apikeys import audit, moments
from apikeys.admin.forms import MomentField
from apikeys.audit import Event
from apikeys.legacy import schemes
from apikeys.lifecycle import LifecycleError
from apikeys.lifecycle.cleaning import check_expiry
from apikeys.management import arguments
from apikeys.models import PersonalAccessToken
from apikeys.web.expiry import ExpiryForm
from tests.factories import UserFactory, bearer, mint_pat

DAY = "2030-01-31"


@pytest.fixture(params=["Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "UTC"])
def zone(request, settings):
    settings.TIME_ZONE = request.param
    return ZoneInfo(request.param)


@pytest.fixture
def visitor(zone):
    """Activate another time zone, as for a request."""
    with timezone.override("Asia/Tokyo"):
        yield


def run(*words):
    call_command("apikeys", *words, stdout=io.StringIO(), stderr=io.StringIO())


@pytest.mark.usefixtures("visitor")
def test_a_date_means_the_same_moment_everywhere(db, zone, tmp_path):
    ada, found = UserFactory(username="ada"), {}

    def ends(name):
        return PersonalAccessToken.objects.get(name=name).expires_at

    mint = ["mint", "--user", "ada", "--scope", "payments:read", "--expires"]
    run(*mint, DAY, "--name", "mint")
    run(*mint, "never", "--name", "edit")
    run("edit", PersonalAccessToken.objects.get(name="edit").public_id, "--expires", DAY)
    run(*mint, "never", "--name", "rotate")
    run("rotate", PersonalAccessToken.objects.get(name="rotate").public_id, "--expires", DAY)
    found["rotate"] = PersonalAccessToken.objects.filter(name="rotate").latest("pk").expires_at
    (csv := tmp_path / "keys.csv").write_text(
        "key,name,user,scopes,expires\n"
        f"K1-abcdefghijklmnopqrstuvwxyz012345,csv,ada,payments:read,{DAY}\n"
        "K2-abcdefghijklmnopqrstuvwxyz012345,import,ada,payments:read,\n"
    )
    run("import", "--from", "csv", str(csv), "--expires", DAY)
    headers = bearer(mint_pat(ada, scopes=["payments:read", "keys:write"]).token)
    body = {"name": "api", "scopes": ["payments:read"], "expires_at": DAY}
    kind = "application/json"
    made = Client().post("/api/tokens/", body, content_type=kind, headers=headers)
    assert made.status_code == 201, made.content
    edited = mint_pat(ada, name="patch").key.public_id
    url, change = f"/api/tokens/{edited}/", {"expires_at": DAY}
    assert Client().patch(url, change, content_type=kind, headers=headers).status_code == 200
    for name in ("mint", "edit", "csv", "import", "api", "patch"):
        found[name] = ends(name)
    data = QueryDict(f"expiry=custom&expires_on={DAY}")
    form = ExpiryForm(data, owner=ada, start=timezone.now())
    assert form.is_valid()
    found["page"] = form.cleaned_data["expires_at"]
    found["admin"] = MomentField(moments.end_of).compress([date(2030, 1, 31), None])

    expected = datetime(2030, 1, 31, 23, 59, 59, tzinfo=zone)
    assert found == dict.fromkeys(found, expected)


def test_the_later_end_of_a_day_counts_if_it_occurs_twice(settings):
    settings.TIME_ZONE = "America/Havana"  # clocks go back from 01:00 to midnight
    settings.TIME_ZONE = "Asia/Beirut"  # clocks go back from midnight to 23:00
    assert moments.end_of(date(2030, 10, 26)) == datetime(2030, 10, 26, 21, 59, 59, tzinfo=UTC)
    assert moments.parse("2030-10-26") == datetime(2030, 10, 26, 21, 59, 59, tzinfo=UTC)
    assert arguments.expiry("2030-10-26") == datetime(2030, 10, 26, 21, 59, 59, tzinfo=UTC)
    assert moments.end_of(date(2030, 10, 25)) == datetime(2030, 10, 25, 20, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize("text", ["20300131", "2030-W05-4"])
def test_other_forms_of_a_date_mean_its_end_too(zone, text):
    assert moments.parse(text) == datetime(2030, 1, 31, 23, 59, 59, tzinfo=zone)


def test_a_date_and_a_time_is_a_moment(zone):
    assert moments.parse("2030-01-31T12:00") == datetime(2030, 1, 31, 12, tzinfo=zone)
    assert moments.parse("2030-01-31T12:00Z") == datetime(2030, 1, 31, 12, tzinfo=UTC)
    assert moments.parse("2030-01-31T00:00") == datetime(2030, 1, 31, tzinfo=zone)


@pytest.mark.parametrize("text", ["", "soon", "2030-02-30", "31.1.2030", "2030-01-31T25:00"])
def test_an_invalid_date_is_refused(zone, text):
    with pytest.raises(LifecycleError, match="does not understand"):
        arguments.expiry(text)


@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01"])
def test_a_date_at_the_end_of_the_calendar_is_refused(db, zone, day):
    with pytest.raises(LifecycleError):
        check_expiry(arguments.expiry(day))
    headers = bearer(mint_pat(scopes=["payments:read", "keys:write"]).token)
    body = {"name": "api", "scopes": ["payments:read"], "expires_at": day}
    made = Client().post("/api/tokens/", body, content_type="application/json", headers=headers)
    assert made.status_code in (400, 422)
    form = ExpiryForm(
        QueryDict(f"expiry=custom&expires_on={day}"), owner=UserFactory(), start=timezone.now()
    )
    assert not form.is_valid() or form.cleaned_data["expires_at"]


def test_filters_of_the_audit_log_include_the_days_that_are_named(db, zone):
    key = mint_pat().key
    first, last = (datetime(2030, 1, day, tzinfo=zone) for day in (30, 31))
    for at in (first, last + timedelta(hours=23, minutes=59, seconds=59, milliseconds=500)):
        audit.compose(Event.NOTIFIED, key, at=at).save()
    outside = [first - timedelta(seconds=1), last + timedelta(days=1)]
    for at in outside:
        audit.compose(Event.NOTIFIED, key, at=at).save()
    out = io.StringIO()
    call_command(
        "apikeys", "audit", "--since", "2030-01-30", "--until", "2030-01-31", "--format", "jsonl",
        "--key", key.public_id, stdout=out,
    )  # fmt: skip
    assert len(out.getvalue().splitlines()) == 2


def test_the_last_day_of_a_legacy_header_is_in_the_sites_time_zone(visitor, zone, settings):
    settings.APIKEYS = {**settings.APIKEYS, "LEGACY": {"authtoken": {"UNTIL": DAY}}}
    assert schemes.enabled()["authtoken"].ends == datetime(2030, 2, 1, tzinfo=zone)
