"""The example under a policy of its own: `example_project.payments.policy.CarefulPolicy`."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import refusals
from apikeys.policy import Policy
from apikeys.verify import Refused, verify
from tests.web.conftest import TOKENS, mint, open_form, secret_of, text_of


@pytest.fixture(autouse=True)
def _careful(settings):
    path = "example_project.payments.policy.CarefulPolicy"
    settings.APIKEYS = settings.APIKEYS | {"POLICY": path}


def test_shorter_lifetimes_are_offered_and_no_more_taken(page, place):
    html = page.get(f"{place.url}new/").content.decode()
    offered = re.findall(r'name="expiry" value="(\w+)"', html)
    assert offered == ["7", "30", "60", "custom"]
    for expiry in ("90", "none"):
        assert mint(page, place, expiry=expiry).status_code == 422
    too_late = (timezone.now() + timedelta(days=61)).date().isoformat()
    response = mint(page, place, expiry="custom", expires_on=too_late)
    assert response.status_code == 422
    assert "no later than 60 days" in text_of(response)
    assert not place.model.objects.exists()


@pytest.mark.parametrize("expiry", ["60", "custom"])
def test_the_longest_lifetime_itself_is_taken(page, place, expiry):
    last = (timezone.now() + timedelta(days=60)).date().isoformat()
    assert secret_of(mint(page, place, expiry=expiry, expires_on=last))
    key = place.model.objects.get()
    assert key.expires_at <= key.created_at + timedelta(days=60)


def test_what_needs_approval_says_so_and_waits(page, place, client):
    assert "needs approval" in text_of(page.get(f"{place.url}new/"))
    form = {"scopes:payments": "payments:write"}
    assert "An admin has to approve it" in text_of(mint(page, place, step="summary", **form))
    response = mint(page, place, **form)
    assert "An admin has to approve this key" in text_of(response)
    with pytest.raises(Refused) as refused:
        verify(secret_of(response))
    assert refused.value.refusal is refusals.APPROVAL_REQUIRED


def test_what_needs_approval_cannot_be_slipped_in_by_an_edit(page, place):
    mint(page, place)
    key = place.model.objects.get()
    form = place.form | {"expiry": "keep", "scopes:payments": "payments:write"}
    response = page.post(f"{place.url}{key.public_id}/edit/", form)
    assert response.status_code == 422
    assert "needs an admin's approval" in text_of(response)
    key.refresh_from_db()
    assert key.scope == "payments:read"


def test_there_may_be_three(page, place):
    for _ in range(3):
        assert mint(page, place).status_code == 200
    response = mint(page, place)
    assert response.status_code == 422
    assert "There are 3 live keys already" in text_of(response)
    assert place.model.objects.count() == 3


def test_a_very_short_lifetime_is_offered_as_such(page, ada, settings):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.Short"}
    form = {"name": "x", "expiry": "longest", "reach": "all", "scopes:payments": "payments:read"}
    assert "3 days, the longest" in text_of(page.get(f"{TOKENS}new/"))
    assert secret_of(page.post(f"{TOKENS}new/", form | open_form(page, TOKENS)))


class Short(Policy):
    def longest_lifetime(self, owner):
        return timedelta(days=3)
