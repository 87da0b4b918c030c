"""The example with a custom policy: `example_project.payments.policy.CarefulPolicy`."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import refusals
from apikeys.models import PersonalAccessToken
from apikeys.policy import Policy
from apikeys.verify import Refused, verify
from tests.web.conftest import TOKENS, mint, open_form, secret_of, text_of


@pytest.fixture(autouse=True)
def _careful(settings):
    path = "example_project.payments.policy.CarefulPolicy"
    settings.APIKEYS = settings.APIKEYS | {"POLICY": path}


@pytest.mark.slow
def test_lifetimes_beyond_the_policy_are_hidden_and_refused(page, place):
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
def test_longest_lifetime_is_accepted(page, place, expiry):
    last = (timezone.now() + timedelta(days=60)).date().isoformat()
    assert secret_of(mint(page, place, expiry=expiry, expires_on=last))
    key = place.model.objects.get()
    assert key.expires_at <= key.created_at + timedelta(days=60)


@pytest.mark.slow
def test_key_with_approval_scope_is_announced_and_pending(page, place, client):
    assert "needs approval" in text_of(page.get(f"{place.url}new/"))
    form = {"scopes:payments": "payments:write"}
    summary = text_of(mint(page, place, step="summary", **form))
    is_wide = place.model is PersonalAccessToken  # for all projects of the user
    who = "A site admin" if is_wide else "A manager of the project's keys, or a site admin,"
    assert f"{who} must approve it" in summary
    response = mint(page, place, **form)
    who = (
        "a site admin, because" if is_wide else "a manager of the project's keys, or a site admin."
    )
    assert f"Pending approval by {who}" in text_of(response)

    with pytest.raises(Refused) as refused:
        verify(secret_of(response))
    assert refused.value.refusal is refusals.APPROVAL_REQUIRED


def test_token_of_one_project_with_approval_scope_names_its_managers(page, engine):
    form = {"name": "laptop", "expiry": "30", "scopes:payments": "payments:write"}
    form |= {"reach": "selected", "projects": [engine.slug]} | open_form(page, TOKENS)
    response = page.post(f"{TOKENS}new/", form)
    assert "Pending approval by a manager of the project's keys" in text_of(response)


def test_adding_an_approval_scope_by_an_edit_is_refused(page, place):
    mint(page, place)
    key = place.model.objects.get()
    form = place.form | {"expiry": "keep", "scopes:payments": "payments:write"}
    response = page.post(f"{place.url}{key.public_id}/edit/", form)
    assert response.status_code == 422
    assert "that need approval" in text_of(response)
    key.refresh_from_db()
    assert key.scope == "payments:read"


@pytest.mark.slow
def test_fourth_active_key_is_refused(page, place):
    for _ in range(3):
        assert mint(page, place).status_code == 200
    response = mint(page, place)
    assert response.status_code == 422
    noun = "token" if place.model is PersonalAccessToken else "key"
    assert f"The limit of 3 {noun}s is reached. Paused and pending {noun}s count." in text_of(
        response
    )
    assert place.model.objects.count() == 3


def test_maximum_lifetime_shorter_than_all_presets_is_offered(page, ada, settings):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.Short"}
    form = {"name": "x", "expiry": "longest", "reach": "all", "scopes:payments": "payments:read"}
    assert "3 days (maximum)" in text_of(page.get(f"{TOKENS}new/"))
    assert secret_of(page.post(f"{TOKENS}new/", form | open_form(page, TOKENS)))


class Short(Policy):
    def longest_lifetime(self, owner):
        return timedelta(days=3)
