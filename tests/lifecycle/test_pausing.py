"""A paused key is refused until it is resumed, and nothing else of it changes."""

import pytest

from apikeys import lifecycle
from apikeys.lifecycle import LifecycleError
from apikeys.models import AuditEvent, State
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[mint_pat, mint_key], ids=["token", "key"])
def minted(request):
    return request.param()


def events(key):
    return list(AuditEvent.objects.filter(public_id=key.public_id).values_list("event", "changes"))


def test_a_paused_key_is_refused_and_works_again_once_resumed(minted):
    assert lifecycle.pause(minted.key, reason="Audit.")

    with pytest.raises(Refused, match="paused_key"):
        verify(minted.token)
    assert minted.key.state() is State.PAUSED

    assert lifecycle.resume(minted.key)

    assert verify(minted.token).credential_id == minted.key.public_id
    assert [event for event, _ in events(minted.key)][:2] == ["resumed", "paused"]
    assert events(minted.key)[1][1] == {"reason": "Audit."}


def test_a_wrong_secret_does_not_learn_that_a_key_is_paused(minted):
    lifecycle.pause(minted.key)
    other = mint_pat() if minted.key.KIND == "pat" else mint_key()
    forged = other.token.replace(other.key.public_id, minted.key.public_id)

    with pytest.raises(Refused) as refused:
        verify(forged)
    assert refused.value.refusal.code in {"invalid_key", "malformed_key"}


def test_pausing_twice_changes_nothing(minted):
    first = UserFactory()
    lifecycle.pause(minted.key, by=first, reason="First.")

    assert not lifecycle.pause(minted.key, by=UserFactory(), reason="Second.")
    minted.key.refresh_from_db()
    assert (minted.key.paused_by, minted.key.paused_reason) == (first, "First.")
    assert lifecycle.resume(minted.key)
    assert not lifecycle.resume(minted.key)


def test_only_a_site_admin_resumes_a_held_key(minted):
    lifecycle.pause(minted.key, reason="Mine.")
    assert lifecycle.pause(minted.key, reason="Suspicious.", held=True)

    with pytest.raises(LifecycleError) as error:
        lifecycle.resume(minted.key)
    assert error.value.code == "held_key"
    with pytest.raises(Refused, match="paused_key"):
        verify(minted.token)
    assert not lifecycle.pause(minted.key, reason="Mine again.")

    assert lifecycle.resume(minted.key, as_admin=True)
    assert not minted.key.is_held
    assert verify(minted.token)


def test_rotating_a_paused_key_is_refused(minted):
    lifecycle.pause(minted.key)

    with pytest.raises(LifecycleError) as error:
        lifecycle.rotate(minted.key)
    assert error.value.code == "paused_key"


@pytest.mark.parametrize("state", ["revoked", "expired"])
def test_a_key_that_ended_is_neither_paused_nor_resumed(state):
    key = mint_pat(state=state).key
    for change in (lifecycle.pause, lifecycle.resume):
        with pytest.raises(LifecycleError) as error:
            change(key)
        assert error.value.code == f"{state}_key"


def test_a_paused_key_can_be_revoked_and_stays_revoked(minted):
    lifecycle.pause(minted.key)
    lifecycle.revoke(minted.key)

    with pytest.raises(Refused, match="revoked_key"):
        verify(minted.token)
    with pytest.raises(LifecycleError):
        lifecycle.resume(minted.key, as_admin=True)


def test_a_secret_in_the_reason_is_refused(minted):
    with pytest.raises(LifecycleError) as error:
        lifecycle.pause(minted.key, reason=f"Leaked {minted.token}.")
    assert error.value.code == "secret_in_text"
    assert minted.key.state() is State.LIVE


def test_metadata_is_in_the_access_as_a_copy(minted):
    assert verify(minted.token).metadata == {}
    minted.key.metadata = {"team": "billing", "ticket": 7}
    minted.key.save(update_fields=["metadata"])

    access = verify(minted.token)
    access.metadata["team"] = "else"

    assert access.metadata == {"team": "billing", "ticket": 7}
    minted.key.metadata = {}
    minted.key.save(update_fields=["metadata"])
    minted.key.refresh_from_db()
    assert (minted.key.metadata, verify(minted.token).metadata) == ({}, {})
