"""``apikeys prune`` deletes clients that registered themselves and that nobody uses."""

import io
import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, DeviceGrant, RefreshToken

from apikeys.oauth import consent
from tests.oauth.test_registration import METADATA, register

pytestmark = pytest.mark.django_db


def prune(*words):
    out = io.StringIO()
    call_command("apikeys", "prune", "--json", *words, stdout=out)
    return json.loads(out.getvalue())["deleted"]


@pytest.fixture
def made(client):
    assert register(client).status_code == 201
    Application.objects.update(created=timezone.now() - timedelta(days=31))
    return Application.objects.get()


def test_unused_client_is_deleted_with_its_registration_token(made):
    assert AccessToken.objects.exists()
    prune()
    assert not Application.objects.exists()
    assert not AccessToken.objects.exists()


def test_newer_client_stays(made):
    assert prune("--unused", "60d") == 0
    assert Application.objects.exists()


def test_client_in_use_stays(made, ada):
    access = AccessToken.objects.create(
        user=ada, application=made, token="t", expires=timezone.now(), scope="payments:read"
    )
    prune()
    assert Application.objects.exists()
    access.delete()
    refresh = RefreshToken.objects.create(user=ada, application=made, token="r")
    prune()
    assert Application.objects.exists()
    refresh.delete()
    given = consent.save(ada, made, "payments:read", None, is_given=True)
    prune()
    assert Application.objects.exists()
    given.delete()
    prune()
    assert not Application.objects.exists()


def test_codes_count_until_they_expire(made):
    device = DeviceGrant.objects.create(
        client_id=made.client_id,
        device_code="d",
        user_code="u",
        expires=timezone.now() + timedelta(minutes=1),
    )
    prune()
    assert Application.objects.exists()
    DeviceGrant.objects.update(expires=timezone.now() - timedelta(days=2))
    prune()
    assert not Application.objects.exists()
    assert not DeviceGrant.objects.filter(pk=device.pk).exists()


def test_client_that_a_person_created_stays(made):
    Application.objects.update(registration_source="manual")
    prune()
    assert Application.objects.exists()


def test_too_short_a_time_is_refused():
    with pytest.raises(CommandError, match="--unused takes 1d or more"):
        prune("--unused", "1h")


class TestAnyonePermission:
    """The example lets anyone register a client."""

    def test_anonymous_client_has_no_user(self, client):
        assert register(client).status_code == 201
        assert Application.objects.get().user is None

    def test_client_of_a_session_belongs_to_its_user(self, client, ada):
        client.force_login(ada)
        assert register(client).status_code == 201
        assert Application.objects.get().user == ada

    def test_client_of_an_old_session_has_no_user(self, client, ada):
        client.force_login(ada)
        stamped = client.session
        stamped["apikeys_logged_in_at"] -= 16 * 60
        stamped.save()
        assert register(client).status_code == 201
        assert Application.objects.get().user is None

    def test_invalid_token_is_refused(self, client):
        assert register(client, Authorization="Bearer made-up").status_code == 401
        assert not Application.objects.exists()

    def test_number_of_clients_is_limited(self, client, settings):
        settings.APIKEYS = settings.APIKEYS | {"MOST_CLIENTS_WITHOUT_USER": 1}
        assert [register(client, METADATA).status_code for _ in range(2)] == [201, 429]
        assert Application.objects.count() == 1
