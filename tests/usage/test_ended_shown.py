"""Uses of a key after its end are shown, mailed and acted on."""

import io
import json
from datetime import timedelta

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone

from apikeys import lifecycle, usage
from apikeys.models import AuditEvent, EndedUse, PersonalAccessToken, ProjectKey, State
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, UserFactory, bearer, mint_key, mint_pat


@pytest.fixture(autouse=True)
def _nothing_noted(db):
    usage.flush()


def refuse(minted, ip="203.0.113.7"):
    with pytest.raises(Refused):
        verify(minted.token, RequestFactory(REMOTE_ADDR=ip).get("/"))


def expire(key):
    type(key).objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(hours=1))


def rotated(minted):
    """Rotate a key whose overlap is over. Return its successor."""
    successor = lifecycle.rotate(minted.key)
    expire(minted.key)
    return successor


@pytest.fixture
def used(ada):
    """A token of ada that was rotated out, used twice since, and its successor."""
    minted = mint_pat(ada, name="laptop", scopes=["keys:read"])
    successor = rotated(minted)
    refuse(minted, "203.0.113.1")
    refuse(minted, "203.0.113.2")
    usage.flush()
    return minted, successor


class TestPage:
    @pytest.fixture
    def page(self, client, ada):
        client.force_login(ada)

        def page(key):
            url = reverse("apikeys:key", kwargs={"key_id": key.public_id})
            return " ".join(client.get(url).content.decode().split())

        return page

    def test_the_page_of_the_key_warns(self, page, used):
        text = page(used[0].key)
        assert "It is still used after its end." in text
        assert "2 requests were refused" in text
        assert "from 203.0.113.1" in text
        assert "from 203.0.113.2" in text
        assert f"?key={used[0].key.public_id}" in text

    def test_the_page_of_the_successor_warns_and_links_to_it(self, page, used):
        old, new = used
        text = page(new.key)
        assert f"<code>{old.key.public_id}</code></a> is still used after its end." in text
        assert "2 requests were refused" in text

    def test_other_keys_show_no_warning(self, page, used, ada):
        other = mint_pat(ada).key
        assert "still used" not in page(other)

    @pytest.mark.slow
    def test_a_resumed_key_shows_no_warning(self, page, ada):
        minted = mint_pat(ada)
        lifecycle.pause(minted.key)
        refuse(minted)
        usage.flush()
        assert "It is still used while it is paused." in page(minted.key)

        lifecycle.resume(minted.key)
        assert "still used" not in page(minted.key)
        assert not EndedUse.objects.exists()

    @pytest.mark.slow
    def test_a_second_pause_counts_from_zero(self, page, ada):
        minted = mint_pat(ada)
        for _ in range(2):
            lifecycle.pause(minted.key)
            refuse(minted)
            usage.flush()
            assert "One request was refused" in page(minted.key)
            lifecycle.resume(minted.key)


@pytest.mark.slow
def test_a_member_who_only_sees_keys_gets_no_link_to_the_activity(client, engine, ada):
    viewer = UserFactory()
    MembershipFactory(user=viewer, project=engine, role="viewer")
    minted = mint_key(engine)
    lifecycle.revoke(minted.key)
    refuse(minted)
    usage.flush()
    for user, has_link in ((ada, True), (viewer, False)):
        client.force_login(user)
        names = {"slug": engine.slug, "key_id": minted.key.public_id}
        text = client.get(reverse("apikeys:key", kwargs=names)).content.decode()
        assert "It is still used after its end." in text
        assert ("Show its activity" in text) == has_link


class TestAPI:
    def test_a_single_key_has_the_fact(self, client, used):
        old, new = used
        headers = bearer(new.token)
        facts = client.get(f"/api/tokens/{old.key.public_id}/", headers=headers).json()
        row = EndedUse.objects.get()
        assert facts["used_after_end"] == {
            "first": row.first_used_at.isoformat(),
            "last": row.last_used_at.isoformat(),
            "count": 2,
            "ip": "203.0.113.2",
        }
        facts = client.get(f"/api/tokens/{new.key.public_id}/", headers=headers).json()
        assert facts["used_after_end"] is None

    def test_a_list_makes_no_query_for_it(self, client, used):
        (first, *_) = client.get("/api/tokens/", headers=bearer(used[1].token)).json()["results"]
        assert "used_after_end" not in first


def test_the_command_shows_it(used):
    key_id = used[0].key.public_id
    out = io.StringIO()
    call_command("apikeys", "show", key_id, "--json", stdout=out)
    assert json.loads(out.getvalue())["used_after_end"]["count"] == 2
    out = io.StringIO()
    call_command("apikeys", "show", key_id, stdout=out)
    assert "2 times, first " in out.getvalue()
    assert "from 203.0.113.2" in out.getvalue()


@pytest.mark.slow
def test_the_admin_shows_it(client, used):
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    for minted in used:
        url = reverse("admin:apikeys_personalaccesstoken_change", args=[minted.key.pk])
        assert f"{used[0].key.public_id}: 2 times" in client.get(url).content.decode()


class TestMail:
    def test_the_owner_gets_one_mail(self, ada, flush):
        minted = mint_pat(ada, name="laptop")
        lifecycle.revoke(minted.key)
        for _ in range(2):
            refuse(minted)
            flush()

        (message,) = mail.outbox
        assert message.to == ["ada@example.com"]
        assert message.subject == "laptop of ada was used after its end"
        assert "laptop was revoked, but a request was sent with it." in message.body
        assert "203.0.113.7" in message.body
        assert "Requests so far: 1" in message.body
        assert minted.token[26:] not in str(message.message())

    def test_the_mail_about_a_rotated_key_names_its_successor(self, ada, flush):
        minted = mint_pat(ada, name="laptop")
        successor = rotated(minted)
        refuse(minted)
        flush()
        (message,) = mail.outbox
        assert "laptop was rotated and its overlap is over" in message.body
        assert f"Replaced by: laptop ({successor.key.public_id})" in message.body

    def test_the_managers_of_a_project_get_it(self, engine, ada, flush):
        minted = mint_key(engine)
        lifecycle.revoke(minted.key, by=ada)
        refuse(minted)
        flush()
        assert [message.to for message in mail.outbox] == [["ada@example.com"]]

    def test_a_site_can_turn_it_off(self, ada, flush, settings):
        settings.APIKEYS = settings.APIKEYS | {"NOTICES": ["minted"]}
        minted = mint_pat(ada)
        lifecycle.revoke(minted.key)
        refuse(minted)
        flush()
        assert not mail.outbox
        assert AuditEvent.objects.filter(event="used_after_end").exists()

    @pytest.mark.parametrize("end", [lifecycle.pause, lifecycle.revoke, expire])
    def test_the_mail_says_how_the_key_ended(self, ada, flush, end):
        minted = mint_pat(ada)
        end(minted.key)
        refuse(minted)
        flush()
        (message,) = mail.outbox
        assert {"pause": "is paused", "revoke": "was revoked", "expire": "has expired"}[
            end.__name__
        ] in message.body


class TestPauseSuccessor:
    @pytest.fixture(autouse=True)
    def _chosen(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"PAUSE_SUCCESSOR": True}

    @pytest.mark.parametrize("mint", [mint_pat, mint_key], ids=["token", "key"])
    def test_the_successor_is_paused_with_a_reason(self, mint):
        minted = mint()
        successor = rotated(minted)
        refuse(minted)
        usage.flush()

        with pytest.raises(Refused, match="paused_key"):
            verify(successor.token)
        key = type(minted.key).objects.get(pk=successor.key.pk)
        assert minted.key.public_id in key.paused_reason
        assert not key.is_held
        assert AuditEvent.objects.filter(event="paused", public_id=key.public_id).count() == 1

    def test_a_resumed_successor_is_not_paused_again(self):
        minted = mint_pat()
        successor = rotated(minted)
        refuse(minted)
        usage.flush()
        lifecycle.resume(successor.key)
        refuse(minted)
        usage.flush()
        assert verify(successor.token)

    def test_every_later_key_of_the_chain_is_paused(self):
        minted = mint_pat()
        second = rotated(minted)
        third = rotated(second)
        refuse(minted)
        usage.flush()
        states = {k.public_id: k.state() for k in PersonalAccessToken.objects.all()}
        assert states[second.key.public_id] is State.EXPIRED
        assert states[third.key.public_id] is State.PAUSED

    def test_a_revoked_successor_stays_revoked(self):
        minted = mint_pat()
        successor = rotated(minted)
        lifecycle.revoke(successor.key)
        refuse(minted)
        usage.flush()
        successor.key.refresh_from_db()
        assert successor.key.state() is State.REVOKED
        assert successor.key.paused_at is None

    def test_a_use_within_the_overlap_pauses_nothing(self):
        minted = mint_pat()
        successor = lifecycle.rotate(minted.key)
        verify(minted.token)
        lifecycle.pause(minted.key)
        refuse(minted)
        usage.flush()
        assert verify(successor.token)

    def test_a_key_that_was_revoked_without_a_rotation_pauses_nothing(self, ada):
        minted, other = mint_pat(ada), mint_pat(ada)
        lifecycle.revoke(minted.key)
        refuse(minted)
        usage.flush()
        assert verify(other.token)

    def test_it_is_off_by_default(self, settings):
        settings.APIKEYS = {k: v for k, v in settings.APIKEYS.items() if k != "PAUSE_SUCCESSOR"}
        minted = mint_pat()
        successor = rotated(minted)
        refuse(minted)
        usage.flush()
        assert verify(successor.token)


def test_old_counts_are_pruned():
    minted = mint_key()
    lifecycle.revoke(minted.key)
    refuse(minted)
    usage.flush()
    usage.prune(timedelta(days=90), timedelta(days=700))
    assert EndedUse.objects.exists()
    EndedUse.objects.update(last_used_at=timezone.now() - timedelta(days=701))
    assert usage.prune(timedelta(days=90), timedelta(days=700)) == 1
    assert not EndedUse.objects.exists()
    assert ProjectKey.objects.exists()


def test_a_wrong_value_of_the_setting_is_reported(settings):
    from django.core.checks import run_checks

    settings.APIKEYS = settings.APIKEYS | {"PAUSE_SUCCESSOR": "no"}
    assert "apikeys.E144" in {each.id for each in run_checks()}
