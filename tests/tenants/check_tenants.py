"""Two tenants whose rows have equal keys and IDs; ``tests.contrib.test_tenants`` runs it."""

import threading

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import Error, run_checks
from django.core.management import call_command, execute_from_command_line
from django.db import connection
from django.test import Client as Browser
from django_tenants.utils import schema_context

from apikeys import cache, lifecycle, usage
from apikeys.errors import LifecycleError
from apikeys.hashing.lost_peppers import count_try
from apikeys.limits import attempts, counting
from apikeys.models import AuditEvent, EndedUse, IdempotentRequest, PersonalAccessToken
from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.signatures import nonces
from apikeys.verify import verify
from tests.documents import blocks
from tests.factories import UserFactory, bearer, mint_pat
from tests.tenants.customers.models import Client, Domain

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = ("one", "two")
ID = 700  # of the user and of the token in both tenants: beyond what the sequences give out


@pytest.fixture(scope="module")
def schemas(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        connection.set_schema_to_public()
        for name in NAMES:
            Client.objects.create(schema_name=name, name=name)  # migrates the schema
        yield
        connection.close()


class Tenant:
    """A tenant with one user and one token. The rows of both tenants have the same keys."""

    def __init__(self, name):
        self.name = name
        with self:
            PersonalAccessToken.objects.all().delete()
            get_user_model().objects.all().delete()
            user = UserFactory(pk=ID, username=f"user-of-{name}")
            self.minted = mint_pat(user, scopes=["payments:read", "keys:write", "keys:read"])
            row = PersonalAccessToken.objects.filter(pk=self.minted.key.pk)
            row.update(id=ID)
            self.minted.key.pk = ID
            self.token = self.minted.token

    def __enter__(self):
        self.context = schema_context(self.name)
        self.context.__enter__()
        return self

    def __exit__(self, *args):
        self.context.__exit__(*args)

    def key(self):
        return PersonalAccessToken.objects.get(pk=ID)


@pytest.fixture
def tenants(schemas):
    cache.forget_everything()
    usage._pending.clear()
    attempts._held.clear()
    connection.set_schema_to_public()
    for name in NAMES:  # each test ends with empty tables
        tenant, _ = Client.objects.get_or_create(schema_name=name, name=name)
        Domain.objects.get_or_create(domain=f"{name}.example", tenant=tenant)
    one, two = (Tenant(name) for name in NAMES)
    # Equal IDs and secrets too, as in a schema that was copied.
    with one:
        kept = PersonalAccessToken.objects.filter(pk=ID).values(
            "public_id", "digest", "root", "pepper_id"
        )[0]
    with two:
        PersonalAccessToken.objects.filter(pk=ID).update(**kept)
        two.token = one.token
    yield one, two
    connection.set_schema_to_public()


def test_the_checks_allow_the_cache():
    found = [each.id for each in run_checks() if isinstance(each, Error)]
    assert found == ["apikeys.E062"]  # the cache of nonces is in memory here


def test_a_cached_token_acts_for_the_user_of_its_tenant(tenants):
    for _ in range(2):
        for tenant in tenants:
            with tenant:
                access = verify(tenant.token)
                assert access.user.username == f"user-of-{tenant.name}"


def test_a_token_of_one_tenant_is_unknown_to_the_other(tenants):
    one, two = tenants
    with one:
        own = mint_pat(get_user_model().objects.get())
        assert verify(own.token)
    with two, pytest.raises(Refused, match="invalid_key"):
        verify(own.token)


def test_a_revocation_counts_in_its_tenant_only(tenants):
    one, two = tenants
    for tenant in tenants:
        with tenant:
            verify(tenant.token)
    with one:
        lifecycle.revoke(one.key())
        with pytest.raises(Refused, match="revoked_key"):
            verify(one.token)
    with two:
        assert verify(two.token).user.username == "user-of-two"
        assert two.key().revoked_at is None
        lifecycle.revoke(two.key())
        with pytest.raises(Refused, match="revoked_key"):
            verify(two.token)


def test_a_deactivated_user_is_refused_in_its_tenant_only(tenants):
    one, two = tenants
    for tenant in tenants:
        with tenant:
            verify(tenant.token)
    with two:
        user = get_user_model().objects.get()
        user.is_active = False
        user.save()
        with pytest.raises(Refused, match="inactive_user"):
            verify(two.token)
    with one:
        assert verify(one.token).user.username == "user-of-one"


def test_uses_are_written_to_the_tenant_of_the_key(tenants):
    one, two = tenants
    with one:
        verify(one.token)
        verify(one.token)
    with two:
        verify(two.token)
    writer = threading.Thread(target=lambda: (usage.flush(), connection.close()))
    writer.start()
    writer.join()
    for tenant, number in ((one, 2), (two, 1)):
        with tenant:
            assert tenant.key().last_used_at is not None
            assert usage.daily(PersonalAccessToken, [ID])[ID][-1] == number


def test_uses_after_the_end_are_written_to_the_tenant_of_the_key(tenants):
    one, two = tenants
    with one:
        lifecycle.revoke(one.key())
        for _ in range(2):
            with pytest.raises(Refused, match="revoked_key"):
                verify(one.token)
    with two:
        verify(two.token)
    writer = threading.Thread(target=lambda: (usage.flush(), connection.close()))
    writer.start()
    writer.join()
    with one:
        assert EndedUse.objects.get().count == 2
        assert AuditEvent.objects.filter(event="used_after_end").count() == 1
    with two:
        assert not EndedUse.objects.exists()
        assert not AuditEvent.objects.filter(event="used_after_end").exists()


def test_uses_of_a_deleted_tenant_are_dropped(tenants, caplog):
    one, _two = tenants
    place = (PersonalAccessToken, usage.tenants.Place("default", "gone"))
    with one:
        verify(one.token)
    usage._pending[place].add(ID, one.minted.key.created_at, None)
    usage.flush()
    assert "gone" in caplog.text
    assert not usage._pending
    with one:
        assert one.key().last_used_at is not None


def test_each_tenant_has_its_own_rate_limit(tenants):
    for tenant in tenants:
        with tenant:
            PersonalAccessToken.objects.update(rate_limits="2/hour")
            cache.forget(tenant.key())
            access = verify(tenant.token)
            counting.spend(access)
            counting.spend(access)
            with pytest.raises(Refused, match="rate_limited"):
                counting.spend(access)


def test_each_tenant_has_its_own_quota_of_a_day(tenants):
    one, two = tenants
    for tenant in tenants:
        with tenant:
            PersonalAccessToken.objects.update(rate_limits="3/day")
            cache.forget(tenant.key())
    with one:
        for _ in range(3):
            counting.spend(verify(one.token))
        with pytest.raises(Refused, match="rate_limited"):
            counting.spend(verify(one.token))
    with two:
        counting.spend(verify(two.token))
    with one, pytest.raises(Refused, match="rate_limited"):
        counting.spend(verify(one.token))


class OneMore(Policy):
    """Each user may have two active keys. One exists."""

    def most_live_keys(self, owner):
        return 2


def test_each_tenant_has_its_own_quota_of_active_keys(tenants, settings):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.OneMore"}
    one, two = tenants
    with one:
        user = get_user_model().objects.get()
        mint_pat(user)
        with pytest.raises(LifecycleError, match="limit of 2"):
            mint_pat(user)
    with two:
        mint_pat(get_user_model().objects.get())
        assert PersonalAccessToken.objects.count() == 2


def test_commands_of_the_guide_name_the_tenant(tenants, settings, capsys):
    settings.SILENCED_SYSTEM_CHECKS = ["apikeys.E062"]
    guide = "docs/how-to/django-tenants.md"
    _migrate, mint, show, *of_all = "".join(blocks(guide, "console")).splitlines()
    one, two = tenants
    for line in (mint.replace("ada", "user-of-one"), show, *of_all):
        execute_from_command_line(line.split()[1:])
    assert capsys.readouterr().out.count("server") >= 2
    with one:
        assert PersonalAccessToken.objects.filter(name="server").count() == 1
    with two:
        assert not PersonalAccessToken.objects.filter(name="server").exists()


def test_each_tenant_has_its_own_idempotency_keys(tenants):
    made = []
    for tenant in tenants:
        response = Browser().post(
            "/api/tokens/",
            {"name": "ci", "scopes": ["payments:read"]},
            content_type="application/json",
            headers=bearer(tenant.token) | {"Idempotency-Key": "same"},
            SERVER_NAME=f"{tenant.name}.example",
        )
        assert response.status_code == 201, response.content
        made.append(response.json()["id"])
    assert len(set(made)) == 2
    rows = []
    for tenant in tenants:
        with tenant:
            rows += [row.digest for row in IdempotentRequest.objects.all()]
    assert len(set(rows)) == 2


def test_each_tenant_has_its_own_nonces(tenants):
    for tenant in tenants:
        with tenant:
            assert nonces.use("a" * 16, "nonce", 4_000_000_000)
            assert not nonces.use("a" * 16, "nonce", 4_000_000_000)


def test_each_tenant_counts_wrong_secrets_separately(tenants):
    one, two = tenants
    with one:
        for _ in range(3):
            count_try("key", 3)
        with pytest.raises(Refused, match="verification_busy"):
            count_try("key", 3)
    with two:
        count_try("key", 3)


def test_weak_imported_keys_of_tenants_stay_separate(tenants):
    from rest_framework.authtoken.models import Token

    from apikeys.http import authenticate

    for tenant in tenants:
        with tenant:
            user = get_user_model().objects.get()
            Token.objects.all().delete()
            Token.objects.create(user=user, key="letmein")
            call_command("apikeys", "import", "--from", "authtoken", "--scope", "payments:read")
    from django.test import RequestFactory

    for tenant in tenants:
        with tenant:
            for _ in range(2):
                asked = RequestFactory().get("/", headers={"Authorization": "Token letmein"})
                assert authenticate(asked).user.username == f"user-of-{tenant.name}"


def test_the_audit_log_belongs_to_its_tenant(tenants):
    for tenant in tenants:
        with tenant:
            lifecycle.revoke(tenant.key())
            owners = set(AuditEvent.objects.values_list("owner", flat=True))
            assert owners == {f"user-of-{tenant.name}"}
