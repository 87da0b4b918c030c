"""Times in the reader's time zone, and the chart of use."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.template import Context, Template
from django.utils import timezone

from apikeys import audit, usage
from apikeys.audit import Event
from apikeys.models import PersonalAccessToken, PersonalAccessTokenUsage
from tests.factories import mint_pat
from tests.web.conftest import TOKENS, mint, text_of

END = datetime(2030, 1, 31, 23, 30, tzinfo=UTC)


@pytest.fixture
def url(ada):
    return f"{TOKENS}{mint_pat(ada, expires_at=END).key.public_id}/"


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("Europe/Berlin", "Feb. 1, 2030, 12:30 a.m."),
        ("America/New_York", "Jan. 31, 2030, 6:30 p.m."),
        ("Asia/Kolkata", "Feb. 1, 2030, 5 a.m."),
    ],
)
def test_times_are_in_the_zone_of_the_reader(page, url, zone, shown):
    page.cookies["apikeys_tz"] = zone
    response = page.get(url)
    assert shown in text_of(response)
    assert f'title="{shown} {zone}"' in response.content.decode()
    assert f"Times are in the time zone {zone}." in text_of(response)
    assert timezone.get_current_timezone_name() == "UTC"


@pytest.mark.parametrize(
    "zone",
    [
        "",
        "nonsense",
        "../../etc/passwd",
        "/etc/passwd",
        "Europe",
        "x" * 5000,
        "Europe/Berlin x",
        ".",
    ],
)
def test_unknown_zone_is_ignored(page, url, zone):
    page.cookies["apikeys_tz"] = zone
    assert "Jan. 31, 2030, 11:30 p.m." in text_of(page.get(url))


def test_zone_that_the_site_activates_wins(page, url):
    page.cookies["apikeys_tz"] = "Europe/Berlin"
    with timezone.override("Asia/Tokyo"):
        assert "Asia/Tokyo" in text_of(page.get(url))


def test_last_day_stays_a_day_of_the_site_and_is_named(page, place):
    page.cookies["apikeys_tz"] = "Europe/Berlin"
    form = place.form | {"expiry": "custom", "expires_on": "2030-01-31", "step": "summary"}
    told = text_of(page.post(f"{place.url}new/", form))
    assert "Works until Feb. 1, 2030, 12:59 a.m. Europe/Berlin" in told
    assert "The last day ends at midnight in UTC." in text_of(page.get(f"{place.url}new/"))


def test_activity_is_grouped_by_the_days_of_the_reader(page, ada):
    audit.write(Event.APPROVED, mint_pat(ada).key, at=END)
    page.cookies["apikeys_tz"] = "Europe/Berlin"
    assert "Feb. 1, 2030 12:30 a.m." in text_of(page.get(f"{TOKENS}activity/"))


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])  # days apart
def test_today_is_the_day_of_the_reader(page, ada, zone):
    mint_pat(ada)
    page.cookies["apikeys_tz"] = zone
    before = datetime.now(ZoneInfo(zone)).date()
    html = page.get(f"{TOKENS}activity/").content.decode()
    after = datetime.now(ZoneInfo(zone)).date()
    assert any(f'?since={day}&amp;until={day}">Today</a>' in html for day in (before, after))


def test_exact_time_can_have_the_focus(page, ada):
    mint_pat(ada, expires_at=END)
    html = page.get(TOKENS).content.decode()
    assert 'title="Jan. 31, 2030, 11:30 p.m. UTC" tabindex="0"' in html


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([0, 0, 7], "7 requests in the last 3 days, all of them on "),
        ([1, 0, 7], "most of them on "),
        ([4000, 1, 3999], "8,000 requests in the last 3 days, at most 4,000 in a day, on "),
        ([0, 0, 0], "No requests in the last 3 days"),
        ([0, 0, 1], "1 request in the last 3 days, on "),
    ],
)
def test_sentence_about_use_is_true(counts, words):
    template = Template("{% load apikeys_pages %}{% usage_words counts %}")
    assert words in template.render(Context({"counts": counts}))


@pytest.mark.parametrize("counts", [[14, 14, 14], [4, 1, 4]])
def test_sentence_names_no_day_if_several_have_the_maximum(counts):
    template = Template("{% load apikeys_pages %}{% usage_words counts %}")
    assert template.render(Context({"counts": counts})).endswith(f"at most {counts[0]} in a day")


def test_chart_without_requests_has_no_axis_values(page, ada):
    key = mint_pat(ada).key
    html = page.get(f"{TOKENS}{key.public_id}/").content.decode()
    assert '<p class="ak-y"></p>' in html
    assert "No requests in the last 30 days" in html


def test_chart_has_an_axis_values_and_a_table(page, ada):
    key = mint_pat(ada).key
    day = datetime.now(UTC).date() - timedelta(days=3)
    PersonalAccessTokenUsage.objects.create(key=key, day=day, count=12_345)
    usage.note_use(PersonalAccessToken, key.pk, "203.0.113.7")
    usage.flush()
    response = page.get(f"{TOKENS}{key.public_id}/")
    html = response.content.decode()
    assert '<p class="ak-y"><span>12,345</span><span>0</span></p>' in html
    assert html.count("<rect") == 30
    assert html.count('<th scope="row">') == 2
    assert "<td>12,345</td>" in html
    assert "style=" not in html


@pytest.mark.slow
def test_thirty_days_are_thirty_days(page, place):
    assert "in 30 days" in text_of(mint(page, place))
    assert "in 30 days" in text_of(page.get(place.url))
