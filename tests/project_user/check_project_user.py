"""What ``tests.test_project_user`` runs in a process whose settings name a project's user."""

import pytest
from django.core.cache import cache as django_cache
from django.core.checks import run_checks
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apikeys.testing import UserFactory, access_for
from apikeys.verify import verify
from tests.factories import bearer, mint_key
from tests.project_user.shops.models import Order, Shop
from tests.signing import caller, send

pytestmark = pytest.mark.django_db


@pytest.fixture
def account():
    return UserFactory(username="shop-account")


@pytest.fixture
def shop(account):
    return Shop.objects.create(slug="shop", name="Shop", account=account)


def call(minted, where="/orders/", **data):
    client = Client(headers=bearer(minted))
    return client.post(where, data) if data else client.get(where)


def outcome(response):
    return response.status_code, response.json().get("code")


def test_the_site_is_clean():
    assert run_checks() == []


def test_the_views_of_the_site_work_with_a_key(shop, account):
    minted = mint_key(shop)
    Order.objects.create(owner=UserFactory(), name="of somebody else")
    assert call(minted, name="tea").status_code == 201
    assert call(minted).json() == [{"name": "tea"}]
    assert Order.objects.get(name="tea").owner == account


def test_key_and_user_take_one_query(shop, account, django_assert_num_queries):
    minted = mint_key(shop)
    verify(minted.token)  # compiled once
    with django_assert_num_queries(1):
        access = verify(minted.token)
        assert access.principal == account
        assert access.project.account.username == "shop-account"
    assert access.user is None  # the credential is the project's
    assert "password" in access.principal.get_deferred_fields()


def test_the_cache_keeps_both_and_notices_changes(settings, shop, account):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}
    minted = mint_key(shop)
    other = UserFactory(username="other")
    assert verify(minted.token).principal == account
    shop.account = other
    shop.save()
    assert verify(minted.token).principal == other
    other.is_active = False
    other.save()
    assert outcome(call(minted)) == (401, "inactive_user")


def test_a_deactivated_user_ends_the_keys_of_the_project(shop, account):
    minted = mint_key(shop)
    account.is_active = False
    account.save()
    assert outcome(call(minted)) == (401, "inactive_user")


def test_a_project_without_a_user_is_refused(shop, caplog):
    minted = mint_key(shop)
    Shop.objects.update(account=None)
    assert outcome(call(minted)) == (403, "user_required")
    assert "account is empty" in caplog.text


def test_a_throttle_by_user_counts_each_project(shop):
    django_cache.clear()
    other = Shop.objects.create(slug="other", name="Other", account=UserFactory())
    keys = [mint_key(shop), mint_key(other)]
    assert [call(each, "/throttled/").status_code for each in keys] == [200, 200]
    assert [call(each, "/throttled/").status_code for each in keys] == [429, 429]


def test_a_token_issued_for_a_key_acts_as_the_same_user(shop, account, django_assert_num_queries):
    minted = mint_key(shop)
    form = {
        "grant_type": "client_credentials",
        "client_id": minted.key.public_id,
        "client_secret": minted.token,
    }
    issued = Client().post("/oauth/token/", form).json()
    assert call(issued["access_token"], name="tea").status_code == 201
    assert Order.objects.get().owner == account
    with django_assert_num_queries(2):  # as without PROJECT_USER
        assert verify(issued["access_token"]).principal == account
    account.is_active = False
    account.save()
    assert outcome(call(issued["access_token"])) == (401, "inactive_user")


def test_a_signed_request_acts_as_the_same_user(shop, account):
    signer = caller(shop)
    Order.objects.create(owner=account, name="tea")
    request = signer.sign("GET", "http://testserver/orders/")
    with CaptureQueriesContext(connection) as captured:
        response = send(Client(), request)
    assert response.json() == [{"name": "tea"}]
    assert not [each for each in captured.captured_queries if 'FROM "auth_user"' in each["sql"]]


def test_an_access_for_tests_is_like_that_of_a_key(shop, account):
    assert access_for(project=shop, scopes=["payments:read"]).principal == account


@pytest.mark.parametrize("given", ["accounts", "slug", "memberships", "a b", 7])
def test_what_leads_to_no_user_is_reported(settings, given):
    settings.APIKEYS = {**settings.APIKEYS, "PROJECT_USER": given}
    assert "apikeys.E102" in [message.id for message in run_checks(tags=["apikeys"])]


def test_a_key_has_no_permissions_of_its_user_on_bindings(settings, shop, account):
    names = "bindings:read", "bindings:write"
    scopes = settings.APIKEYS["SCOPES"] | dict.fromkeys(names, "Bindings")
    settings.APIKEYS = {**settings.APIKEYS, "SCOPES": scopes}
    account.is_superuser = True
    account.save()
    minted = mint_key(shop, scopes=["bindings:write"])
    binding = {"project": "shop", "kind": "subscriber_id", "identifier": "4711"}
    for data in ({}, binding):
        answer = outcome(call(minted, "/api/bindings/", **data))
        assert answer == (403, "may_not_manage_bindings")
