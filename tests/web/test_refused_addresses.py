"""The pages name addresses that are refused because of the allowed IP ranges of a key."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys import audit, lifecycle
from apikeys.models import AuditEvent
from tests.factories import mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, mint, text_of

pytestmark = pytest.mark.django_db

TODAY = "Requests from 127.0.0.2 were refused today, because the address is outside the allowed"


@pytest.fixture(params=[TOKENS, KEYS], ids=["token", "project-key"])
def key(request, ada, engine):
    terms = {"allowed_networks": ["203.0.113.0/24"]}
    made = mint_pat(ada, **terms) if request.param == TOKENS else mint_key(engine, **terms)
    made.key.url = f"{request.param}{made.key.public_id}/"
    return made.key


def refused(key, ip="127.0.0.2", ago=timedelta(0)):
    at = timezone.now() - ago
    row = audit.compose(AuditEvent.Event.REFUSED_NETWORK, key, ip=ip, at=at, changes=None)
    row.save()


def test_address_refused_today_is_named_with_what_to_do(page, key):
    refused(key)
    response = page.get(key.url)
    assert TODAY in text_of(response)
    html = response.content.decode()
    assert f"?key={key.public_id}&amp;event=refused_network" in html
    assert "Change the allowed IP ranges" in html
    activity = f"{key.url.removesuffix(key.public_id + '/')}activity/"
    found = page.get(activity, {"key": key.public_id, "event": "refused_network"})
    assert "127.0.0.2" in text_of(found)


def test_up_to_three_addresses_of_the_last_week_are_named_once(page, key):
    refused(key, "127.0.0.9", timedelta(days=8))
    for last in (5, 4, 3, 2, 2):
        refused(key, f"127.0.0.{last}", timedelta(days=2))
    refused(key, None)
    text = text_of(page.get(key.url))
    assert text.count("outside the allowed IP ranges") == 3
    assert text.count("Requests from 127.0.0.2 were refused on ") == 1
    assert "Requests from an unknown address were refused today" in text
    assert "127.0.0.9" not in text


def test_address_that_is_allowed_meanwhile_is_not_named(page, key):
    refused(key)
    lifecycle.edit(key, allowed_networks=["127.0.0.0/8"])
    assert "were refused" not in text_of(page.get(key.url))


@pytest.mark.parametrize("is_ended", [True, False], ids=["revoked", "without-ranges"])
def test_revoked_key_and_key_without_ranges_name_none(page, key, is_ended):
    refused(key)
    if is_ended:
        lifecycle.revoke(key)
    else:
        lifecycle.edit(key, allowed_networks=[])
    assert "were refused" not in text_of(page.get(key.url))


def test_key_with_ranges_needs_one_query_more(page, key):
    numbers = []
    for ranges in ([], ["203.0.113.0/24"]):
        lifecycle.edit(key, allowed_networks=ranges)
        with CaptureQueriesContext(connection) as queries:
            page.get(key.url)
        numbers.append(len(queries))
    assert numbers[1] - numbers[0] <= 1


def test_viewer_gets_no_links(client, viewer, engine):
    key = mint_key(engine, allowed_networks=["203.0.113.0/24"]).key
    refused(key)
    client.force_login(viewer)
    response = client.get(f"{KEYS}{key.public_id}/")
    assert TODAY in text_of(response)
    assert "Change the allowed IP ranges" not in response.content.decode()
    assert "refused_network" not in response.content.decode()


def note(place, ip="127.0.0.1"):
    word = "token" if place.url == TOKENS else "key"
    return (
        f"Your own address, {ip}, is not in the allowed IP ranges. You cannot use the {word} "
        "from this device."
    )


OTHERS = "203.0.113.0/24 2001:db8::/32"


@pytest.mark.parametrize("step", ["review", "summary"])
def test_ranges_without_the_readers_address_are_pointed_out(page, place, step):
    assert note(place) in text_of(mint(page, place, step=step, allowed_networks=OTHERS))
    for ranges in ("", f"{OTHERS} 127.0.0.0/8", "nonsense"):
        assert "Your own address" not in text_of(
            mint(page, place, step=step, allowed_networks=ranges)
        )


def test_the_note_does_not_block_the_creation(page, place):
    mint(page, place, allowed_networks=OTHERS)
    assert place.model.objects.get().allowed_networks == OTHERS


@pytest.mark.slow
def test_the_note_names_the_address_that_the_package_checks(page, place, settings):
    settings.APIKEYS = settings.APIKEYS | {"TRUSTED_PROXIES": ["127.0.0.1"]}
    page.defaults["HTTP_X_FORWARDED_FOR"] = "203.0.113.7"
    assert "Your own" not in text_of(mint(page, place, step="review", allowed_networks=OTHERS))
    shown = text_of(mint(page, place, step="review", allowed_networks="127.0.0.0/8"))
    assert note(place, "203.0.113.7") in shown
    del page.defaults["HTTP_X_FORWARDED_FOR"]
    page.defaults["REMOTE_ADDR"] = ""  # unknown, so nothing is said
    shown = text_of(mint(page, place, step="review", allowed_networks="127.0.0.0/8"))
    assert "Your own" not in shown


def edited(page, place, key, **changes):
    form = {"name": key.name, "expiry": "keep", "scopes:payments": "payments:read"}
    return page.post(f"{place.url}{key.public_id}/edit/", form | {"reach": "all"} | changes)


@pytest.mark.slow
def test_an_edit_that_excludes_the_readers_address_is_saved_and_pointed_out(page, place):
    mint(page, place)
    key = place.model.objects.get()
    url = f"{place.url}{key.public_id}/"
    assert "Your own address" not in text_of(page.get(f"{url}edit/"))

    assert edited(page, place, key, allowed_networks=OTHERS)["Location"] == url
    key.refresh_from_db()
    assert key.allowed_networks == OTHERS
    text = text_of(page.get(url))
    assert "Saved." in text
    assert note(place) in text

    # The form shows it beside the field; another change of the key does not repeat it.
    assert note(place) in text_of(page.get(f"{url}edit/"))
    edited(page, place, key, name="desk", allowed_networks=OTHERS)
    assert "Your own address" not in text_of(page.get(url))
    edited(page, place, key, name="desk", allowed_networks=f"{OTHERS} 127.0.0.1")
    assert "Your own address" not in text_of(page.get(url))


def hidden(response, name):
    return re.findall(rf'name="{name}" value="([^"]*)"', response.content.decode())


@pytest.fixture
def used(page, place):
    """A key that was used two hours ago, and the URL of its form."""
    mint(page, place)
    at = timezone.now() - timedelta(hours=2, seconds=1)
    place.model.objects.update(last_used_at=at, last_used_on=at.date(), last_used_ip="203.0.113.7")
    key = place.model.objects.get()
    return key, f"{place.url}{key.public_id}/edit/"


CUTS_OFF = "Its requests from there will be refused."


def test_the_form_shows_and_adds_the_address_of_the_last_use(page, place, used):
    key, url = used
    response = page.get(url)
    assert "Last used from 203.0.113.7 2 hours ago ." in text_of(response)
    assert 'data-ak-add="203.0.113.7"' in response.content.decode()
    assert CUTS_OFF not in text_of(response)

    lifecycle.edit(key, allowed_networks=["198.51.100.0/24"])
    shown = text_of(page.get(url))
    assert "Last used from 203.0.113.7 2 hours ago , which is not in these ranges." in shown
    assert CUTS_OFF not in shown  # they are refused already

    place.model.objects.update(last_used_ip="127.0.0.1")
    html = page.get(url).content.decode()
    assert html.count('data-ak-add="127.0.0.1"') == 1  # also the current address
    place.model.objects.update(last_used_ip=None)
    assert "Last used from" not in text_of(page.get(url))


def test_ranges_without_the_address_of_the_last_use_are_confirmed_once(page, place, used):
    key, _url = used
    ranges = "198.51.100.0/24 127.0.0.1"
    asked = edited(page, place, key, name="job", allowed_networks=ranges)
    assert asked.status_code == 422
    text = text_of(asked)
    assert "Not saved yet. Last used from 203.0.113.7 2 hours ago , which is not in" in text
    assert CUTS_OFF in text
    # Nothing that was entered is lost.
    assert 'value="job"' in asked.content.decode()
    assert ranges in asked.content.decode()
    key.refresh_from_db()
    assert (key.name, key.allowed_networks) == ("laptop", "")

    (confirmed,) = hidden(asked, "excludes")
    done = edited(page, place, key, name="job", allowed_networks=ranges, excludes=confirmed)
    assert done.status_code == 302
    key.refresh_from_db()
    assert (key.name, key.allowed_networks) == ("job", "127.0.0.1/32 198.51.100.0/24")
    # Excluded already, so other changes need no further confirmation.
    assert edited(page, place, key, name="desk", allowed_networks=ranges).status_code == 302


@pytest.mark.parametrize("ranges", ["", "203.0.113.0/24 127.0.0.1"], ids=["any", "with-it"])
def test_ranges_with_the_address_of_the_last_use_are_saved_at_once(page, place, used, ranges):
    key, _url = used
    assert edited(page, place, key, allowed_networks=ranges).status_code == 302
    place.model.objects.update(last_used_ip=None)  # unknown
    assert edited(page, place, key, allowed_networks="198.51.100.0/24").status_code == 302


def test_a_use_from_elsewhere_after_the_warning_is_shown_too(page, place, used):
    key, _url = used
    (confirmed,) = hidden(edited(page, place, key, allowed_networks=OTHERS[14:]), "excludes")
    place.model.objects.update(last_used_ip="192.0.2.9")
    asked = edited(page, place, key, allowed_networks=OTHERS[14:], excludes=confirmed)
    assert "Last used from 192.0.2.9" in text_of(asked)
    assert asked.status_code == 422


def test_the_warning_follows_the_entries_over_a_new_log_in(page, place, ada, used):
    key, url = used
    lifecycle.edit(key, allowed_networks=["203.0.113.0/24"])
    session = page.session
    session["apikeys_logged_in_at"] = 0
    session.save()
    response = edited(page, place, key, allowed_networks="192.0.2.0/24")  # widens it
    assert "/confirm/" in response["Location"]
    page.force_login(ada)
    shown = page.get(url)
    assert CUTS_OFF in text_of(shown)
    assert hidden(shown, "excludes") == ["203.0.113.7"]
