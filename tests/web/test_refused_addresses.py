"""The page of a key names addresses that were refused because of its allowed IP ranges."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys import audit, lifecycle
from apikeys.models import AuditEvent
from tests.factories import mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of

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
