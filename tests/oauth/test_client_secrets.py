"""Wrong secrets cost few hashes and do not lock the client out."""

import base64
from datetime import timedelta

import pytest
from django.contrib.auth import hashers
from oauth2_provider.models import Application

from apikeys.oauth import client_secrets, registration
from apikeys.oauth.client_secrets import MOST, WINDOW
from tests.oauth.conftest import SECRET

TOKEN = ("/o/token/", {"grant_type": "client_credentials"})
INTROSPECT = ("/o/introspect/", {"token": "x"})
REVOKE = ("/o/revoke_token/", {"token": "x"})


@pytest.fixture(autouse=True)
def _new_process_in_the_middle_of_a_window(monkeypatch):
    monkeypatch.setattr("apikeys.limits.attempts.time.time", lambda: 10_000 * WINDOW + WINDOW / 2)
    client_secrets._right.clear()
    yield
    client_secrets._right.clear()


@pytest.fixture
def hashes(monkeypatch):
    """Record the hashes that are computed to check a secret."""
    found = []
    verify = hashers.MD5PasswordHasher.verify

    def counted(self, password, encoded):
        found.append(encoded)
        return verify(self, password, encoded)

    monkeypatch.setattr(hashers.MD5PasswordHasher, "verify", counted)
    return found


@pytest.fixture
def ask(client, service):
    def ask(secret, address="203.0.113.1", to=TOKEN, client_id="service"):
        url, form = to
        pair = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}"}
        return client.post(url, form, headers=headers, REMOTE_ADDR=address)

    return ask


@pytest.mark.slow
@pytest.mark.parametrize("to", [TOKEN, INTROSPECT, REVOKE])
def test_wrong_secrets_from_one_address_are_limited(ask, hashes, to):
    for _ in range(MOST):
        assert ask("wrong", to=to).status_code == 401

    refused = ask("wrong", to=to)

    assert (refused.status_code, refused.json()["error"]) == (429, "too_many_tries")
    assert int(refused["Retry-After"]) > 0
    assert len(hashes) == MOST


@pytest.mark.slow
def test_all_endpoints_share_one_counter(ask, hashes):
    for number in range(MOST + 5):
        ask("wrong", to=(TOKEN, INTROSPECT, REVOKE)[number % 3])
    assert len(hashes) == MOST


@pytest.mark.slow
def test_the_client_is_not_locked_out_from_another_address(ask):
    for _ in range(MOST + 1):
        ask("wrong")
    assert ask(SECRET, "203.0.113.2").status_code == 200


@pytest.mark.slow
def test_a_known_client_is_not_locked_out_by_its_neighbor(ask):
    assert ask(SECRET).status_code == 200
    for _ in range(MOST + 5):
        assert ask("wrong").status_code == 401
    assert ask(SECRET).status_code == 200


@pytest.mark.slow
def test_wrong_secrets_cost_no_hash_once_the_right_one_is_known(ask, hashes):
    assert ask(SECRET).status_code == 200
    for number in range(MOST + 5):
        assert ask("wrong", f"203.0.113.{number}").status_code == 401
    assert len(hashes) == 1


@pytest.mark.slow
def test_right_secrets_do_not_count(ask):
    for _ in range(MOST + 5):
        client_secrets._right.clear()  # as in a new process
        assert ask(SECRET).status_code == 200


@pytest.mark.slow
def test_addresses_of_one_ipv6_network_count_together(ask, hashes):
    for number in range(MOST + 5):
        ask("wrong", f"2001:db8::{number:x}")
    assert len(hashes) == MOST


def test_a_replaced_secret_is_refused_at_once(ask, service):
    assert ask(SECRET).status_code == 200
    secret = registration.rotate_secret(service, timedelta(0))
    assert ask(SECRET).status_code == 401
    assert ask(secret).status_code == 200


@pytest.mark.slow
def test_a_replaced_secret_works_until_the_overlap_ends(ask, service):
    secret = registration.rotate_secret(service, timedelta(hours=1))
    for _ in range(MOST + 5):  # the process has not seen the new secret yet
        assert ask(SECRET).status_code == 200
    assert ask(secret).status_code == 200
    assert ask(SECRET).status_code == 200
    assert ask("wrong").status_code == 401


@pytest.mark.slow
def test_a_public_client_costs_no_more_hashes(ask, hashes, service):
    Application.objects.filter(pk=service.pk).update(client_type=Application.CLIENT_PUBLIC)
    for _ in range(MOST + 5):
        ask("wrong")
    assert len(hashes) == MOST


@pytest.mark.slow
def test_a_secret_in_clear_text_is_compared(ask, hashes, service):
    Application.objects.filter(pk=service.pk).update(client_secret=SECRET)
    assert ask(SECRET).status_code == 200
    for _ in range(MOST + 5):
        assert ask("wrong").status_code == 401
    assert not hashes
