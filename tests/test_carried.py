"""An ``Access`` in the context of a task, through a real Celery worker."""

import json
from datetime import timedelta

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from django.test import RequestFactory
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application

from apikeys import lifecycle
from apikeys.access import Access
from apikeys.models import KEY_MODELS
from apikeys.refusals import Refused
from apikeys.verify import recheck, verify
from tests.factories import MembershipFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db


def carried(access):
    return json.loads(json.dumps(access.to_dict()))


def refusal_of(data, **options):
    with pytest.raises(Refused) as caught:
        Access.from_dict(data, **options)
    return caught.value.refusal.code


@pytest.fixture(params=["token", "key", "oauth"])
def text(request, ada, engine):
    """The text of a credential of each kind, for payments."""
    if request.param == "token":
        return mint_pat(ada, scopes=["payments:write"]).token
    if request.param == "key":
        return mint_key(engine, scopes=["payments:write"]).token
    client = Application.objects.create(
        client_id="cli", client_type="public", authorization_grant_type="authorization-code"
    )
    ends = timezone.now() + timedelta(minutes=5)
    AccessToken.objects.create(
        user=ada, application=client, token="secret-of-ada", scope="payments:write", expires=ends
    )
    return "secret-of-ada"


@pytest.mark.parametrize("again", [False, True])
def test_access_is_the_same_in_a_task(text, engine, again):
    access = verify(text)
    found = Access.from_dict(carried(access), verify=again)
    for name in ("kind", "credential_id", "name", "scope", "user", "project", "principal"):
        assert getattr(found, name) == getattr(access, name), name
    assert found.expires_at == access.expires_at
    assert found.allows("payments:write", project=engine)
    assert not found.allows("reports:read")
    assert found.facts() == access.facts()


def test_it_contains_no_secret(text):
    data = carried(verify(text))
    assert text[-12:] not in json.dumps(data)
    for model in KEY_MODELS.values():
        for row in model.objects.all():
            assert row.digest not in json.dumps(data)
            assert row.root not in json.dumps(data)


def test_it_stays_limited_to_its_projects(ada, engine):
    other = MembershipFactory(user=ada, role="owner").project
    key = mint_pat(ada, projects=[engine])
    data = carried(verify(key.token))
    for again in (False, True):
        found = Access.from_dict(data, verify=again)
        assert list(found.projects()) == [engine]
        assert not found.allows("payments:read", project=other)
    lifecycle.edit(key.key, projects=[other])
    assert not Access.from_dict(data, verify=True).projects().exists()
    lifecycle.edit(key.key, projects=None)  # widened after the request
    assert list(Access.from_dict(data, verify=True).projects()) == [engine]


def test_restrictions_are_carried(engine):
    start = timezone.now() - timedelta(days=1)
    key = mint_key(engine, allowed_networks=["203.0.113.0/24"], rate_limits=["5/hour"])
    type(key.key).objects.update(not_before=start)

    access = verify(key.token, RequestFactory().get("/", REMOTE_ADDR="203.0.113.1"))
    found = Access.from_dict(carried(access))
    assert (found.allowed_networks, found.rate_limits) == ("203.0.113.0/24", "5/hour")
    assert found.not_before == start


def test_verifying_again_refuses_what_was_revoked_since(ada):
    key = mint_pat(ada)
    data = carried(verify(key.token))
    lifecycle.revoke(key.key)
    assert refusal_of(data, verify=True) == "revoked_key"
    assert Access.from_dict(data).user == ada  # the task did not request it


def test_verifying_again_refuses_an_oauth_token_that_is_gone(ada):
    ends = timezone.now() + timedelta(minutes=5)
    client = Application.objects.create(client_id="cli", authorization_grant_type="password")
    token = AccessToken.objects.create(
        user=ada, application=client, token="t" * 20, scope="payments:read", expires=ends
    )
    data = carried(verify("t" * 20))
    AccessToken.objects.update(expires=timezone.now())
    assert refusal_of(data, verify=True) == "invalid_token"
    token.delete()
    assert refusal_of(data, verify=True) == "invalid_token"


def test_verifying_again_allows_no_more_than_the_request(ada):
    key = mint_pat(ada, scopes=["payments:read", "reports:read"])
    data = carried(verify(key.token))
    lifecycle.edit(key.key, scopes=["payments:write"], expires_at=None)
    found = Access.from_dict(data, verify=True)
    assert found.scopes == {"payments:read"}


def test_verifying_again_keeps_the_narrower_of_the_restrictions(engine):
    key = mint_key(engine, allowed_networks=["203.0.113.0/24"], rate_limits=["5/hour"])
    data = carried(recheck(key.key.public_id))

    lifecycle.edit(key.key, allowed_networks=[], rate_limits=["9/minute"])  # widened
    found = Access.from_dict(data, verify=True)
    assert found.allowed_networks == "203.0.113.0/24"
    assert set(found.rate_limits.split()) == {"5/hour", "9/minute"}

    lifecycle.edit(key.key, allowed_networks=["203.0.113.7", "198.51.100.0/24"], rate_limits=[])
    found = Access.from_dict(data, verify=True)
    assert (found.allowed_networks, found.rate_limits) == ("203.0.113.7/32", "5/hour")

    lifecycle.edit(key.key, allowed_networks=["198.51.100.0/24"])  # nothing in common
    assert refusal_of(data, verify=True) == "ip_not_allowed"


@pytest.mark.parametrize("again", [False, True])
def test_keys_of_projects_are_refused_after_the_site_turned_them_off(engine, settings, again):
    data = carried(verify(mint_key(engine).token))
    settings.APIKEYS = {**settings.APIKEYS, "PROJECT_KEYS": False}
    assert refusal_of(data, verify=again) == "credential_not_accepted"


class Partition:
    """Tenants whose rows have the same primary keys."""

    name = "north"

    def current(self):
        return self.name

    def enter(self, name):
        raise NotImplementedError


@pytest.mark.parametrize("again", [False, True])
def test_another_tenant_refuses_the_access(text, settings, monkeypatch, again):
    settings.APIKEYS = {**settings.APIKEYS, "PARTITION": Partition}
    data = carried(verify(text))
    assert Access.from_dict(data, verify=again).allows("payments:write")
    monkeypatch.setattr(Partition, "name", "south")
    assert refusal_of(data, verify=again) in ("invalid_key", "invalid_token")


@pytest.mark.parametrize("again", [False, True])
def test_deactivated_owners_are_refused(text, ada, engine, again):
    data = carried(verify(text))
    ada.is_active = engine.is_active = False
    ada.save(), engine.save()
    assert refusal_of(data, verify=again).startswith("inactive_")


def test_context_of_another_key_is_refused(ada, engine):
    data = carried(verify(mint_pat(ada).token))
    data["id"] = mint_pat(MembershipFactory().user).key.public_id
    assert refusal_of(data, verify=True) == "invalid_key"
    assert refusal_of(data | {"kind": "cookie"}, verify=True) == "invalid_token"


app = Celery("tests", broker="memory://", backend="cache+memory://")


@app.task
def report(access, verify):
    try:
        found = Access.from_dict(access, verify=verify)
    except Refused as refused:
        return refused.refusal.code
    return sorted(project.slug for project in found.projects("payments:read"))


@pytest.mark.process
@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("default")
def test_task_of_celery_acts_with_the_rights_of_its_request(ada):
    key = mint_pat(ada)
    data = verify(key.token).to_dict()
    with start_worker(app, pool="solo", perform_ping_check=False):
        assert report.delay(data, verify=True).get(timeout=20) == ["analytical-engine"]
        lifecycle.revoke(key.key)
        assert report.delay(data, verify=True).get(timeout=20) == "revoked_key"
