"""A changed password, a deactivation, a lost membership and a logout end tokens, if set."""

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher, make_password
from django.core import mail
from django.core.checks import run_checks
from django.db.models import QuerySet
from django.test import Client

from apikeys import lifecycle
from apikeys.lifecycle import people
from apikeys.models import AuditEvent, Membership, State
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import (
    PASSWORD,
    MembershipFactory,
    ProjectFactory,
    UserFactory,
    mint_key,
    mint_pat,
)

pytestmark = pytest.mark.django_db
EVENTS = ("password_changed", "deactivated", "membership_lost", "logged_out")
User = get_user_model()


def choose(settings, **actions):
    settings.APIKEYS = settings.APIKEYS | {"WHEN_USER": actions}


def change_password(user):
    user.set_password("another-long-password")
    user.save()


def deactivate(user):
    user.is_active = False
    user.save()


def leave(user):
    Membership.objects.get(user=user).delete()


def log_out(user):
    client = Client()
    client.force_login(user)
    client.logout()


CAUSES = dict(zip(EVENTS, (change_password, deactivate, leave, log_out), strict=True))
REASONS = {
    "password_changed": "The password of the user was changed.",
    "deactivated": "The user was deactivated.",
    "membership_lost": "The user is no longer a member of analytical-engine.",
    "logged_out": "The user logged out.",
}


def state(minted):
    minted.key.refresh_from_db()
    return minted.key.state()


@pytest.mark.parametrize("event", EVENTS)
class TestEachEvent:
    def test_pauses_the_tokens(self, event, ada, engine, settings):
        choose(settings, **{event: "pause"})
        minted, second = mint_pat(ada, projects=[engine]), mint_pat(ada, projects=[engine])
        CAUSES[event](ada)
        assert state(minted) is state(second) is State.PAUSED
        assert minted.key.paused_reason == REASONS[event]
        assert not minted.key.is_held
        paused = AuditEvent.objects.filter(event="paused")
        assert {each.changes["reason"] for each in paused} == {REASONS[event]}
        assert paused.count() == 2

    def test_revokes_the_tokens(self, event, ada, engine, settings):
        choose(settings, **{event: "revoke"})
        minted = mint_pat(ada, projects=[engine])
        CAUSES[event](ada)
        assert state(minted) is State.REVOKED
        assert minted.key.revoked_reason == REASONS[event]
        with pytest.raises(Refused, match="revoked_key"):
            verify(minted.token)
        assert AuditEvent.objects.filter(event="revoked").count() == 1

    @pytest.mark.parametrize("action", [None, "nothing"])
    def test_does_nothing_by_default(self, event, action, ada, settings):
        choose(settings, **({event: action} if action else {}))
        minted = mint_pat(ada)
        CAUSES[event](ada)
        assert state(minted) is State.LIVE

    def test_does_what_is_set_for_it_and_not_for_the_others(self, event, ada, settings):
        choose(settings, **{each: "revoke" for each in EVENTS if each != event})
        minted = mint_pat(ada)
        CAUSES[event](ada)
        assert state(minted) is State.LIVE

    def test_spares_other_users_and_project_keys(self, event, ada, engine, settings):
        choose(settings, **{event: "revoke"})
        other = MembershipFactory(project=engine, role="owner").user
        of_other, of_project = mint_pat(other), mint_key(engine, by=ada)
        CAUSES[event](ada)
        assert state(of_other) is state(of_project) is State.LIVE

    def test_keeps_ended_and_paused_tokens_as_they_are(self, event, ada, settings):
        choose(settings, **{event: "pause"})
        paused, revoked = mint_pat(ada), mint_pat(ada)
        lifecycle.pause(paused.key, reason="Mine.")
        lifecycle.revoke(revoked.key, reason="Lost.")
        CAUSES[event](ada)
        assert (state(paused), paused.key.paused_reason) == (State.PAUSED, "Mine.")
        assert (state(revoked), revoked.key.revoked_reason) == (State.REVOKED, "Lost.")

    def test_a_paused_token_works_again_once_resumed(self, event, ada, settings):
        choose(settings, **{event: "pause"})
        minted = mint_pat(ada)
        CAUSES[event](ada)
        User.objects.update(is_active=True)
        lifecycle.resume(minted.key)
        assert verify(minted.token).user == ada


class TestPassword:
    @pytest.fixture(autouse=True)
    def _chosen(self, settings):
        choose(settings, password_changed="revoke")

    def test_saving_a_user_without_a_change_ends_nothing(self, ada):
        minted = mint_pat(ada)
        ada.first_name = "Augusta"
        ada.save()
        ada.save(update_fields=["first_name"])
        User.objects.get(pk=ada.pk).save()
        assert state(minted) is State.LIVE

    def test_the_upgrade_of_the_hash_at_a_login_ends_nothing(self, ada, old_hash):
        minted = mint_pat(ada)
        assert authenticate(username="ada", password=PASSWORD) == ada
        assert User.objects.get(pk=ada.pk).password.startswith("pbkdf2_sha256$")
        assert state(minted) is State.LIVE

    @pytest.fixture
    def old_hash(self, ada, settings, monkeypatch):
        """The password of ada is hashed with an older algorithm."""
        monkeypatch.setattr(PBKDF2PasswordHasher, "iterations", 1)
        settings.PASSWORD_HASHERS = [
            "django.contrib.auth.hashers.PBKDF2PasswordHasher",
            "django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher",
        ]
        old = make_password(PASSWORD, hasher="pbkdf2_sha1")
        User.objects.filter(pk=ada.pk).update(password=old)

    def test_another_hash_that_is_saved_with_the_user_is_no_upgrade(self, ada, old_hash):
        minted = mint_pat(ada)
        ada.password = make_password("another-long-password")
        ada.save()
        assert state(minted) is State.REVOKED

    def test_another_password_is_no_upgrade(self, ada, old_hash):
        minted = mint_pat(ada)
        ada.set_password("another-long-password")
        ada.save(update_fields=["password"])
        assert state(minted) is State.REVOKED

    def test_a_change_with_update_fields_counts(self, ada):
        minted = mint_pat(ada)
        ada.set_password("another-long-password")
        ada.save(update_fields=["password"])
        assert state(minted) is State.REVOKED

    def test_a_hash_that_is_assigned_counts(self, ada):
        minted = mint_pat(ada)
        ada.password = make_password("another-long-password")
        ada.save()
        assert state(minted) is State.REVOKED

    def test_a_password_that_becomes_unusable_counts(self, ada):
        minted = mint_pat(ada)
        ada.set_unusable_password()
        ada.save()
        assert state(minted) is State.REVOKED

    def test_a_password_that_is_set_but_not_saved_ends_nothing(self, ada):
        minted = mint_pat(ada)
        ada.set_password("another-long-password")
        ada.save(update_fields=["first_name"])
        assert state(minted) is State.LIVE

    def test_the_form_of_the_site_counts(self, client, ada):
        from django.contrib.auth.forms import SetPasswordForm

        minted = mint_pat(ada)
        words = "another-long-password"
        form = SetPasswordForm(ada, {"new_password1": words, "new_password2": words})
        assert form.is_valid()
        form.save()
        assert state(minted) is State.REVOKED

    def test_a_new_user_makes_no_query_more(self, django_assert_num_queries):
        with django_assert_num_queries(1):
            User.objects.create_user("new", password="a-long-password")

    def test_a_fixture_ends_nothing(self, ada):
        from django.core import serializers

        minted = mint_pat(ada)
        text = serializers.serialize("json", [ada])
        text = text.replace(ada.password, make_password("other"))
        for each in serializers.deserialize("json", text):
            each.save()
        assert state(minted) is State.LIVE

    def test_bulk_updates_send_no_signal_and_the_site_calls_the_function(self, ada):
        minted = mint_pat(ada)
        User.objects.filter(pk=ada.pk).update(password=make_password("another"))
        assert state(minted) is State.LIVE
        assert lifecycle.apply_user_event("password_changed", ada) == 1
        assert state(minted) is State.REVOKED


class TestDeactivated:
    @pytest.fixture(autouse=True)
    def _chosen(self, settings):
        choose(settings, deactivated="revoke")

    def test_only_the_change_counts(self, ada):
        minted = mint_pat(ada)
        User.objects.update(is_active=False)
        deactivate(ada)
        assert state(minted) is State.LIVE
        ada.is_active = True
        ada.save()
        assert state(minted) is State.LIVE

    def test_another_field_counts_not(self, ada):
        minted = mint_pat(ada)
        ada.is_active = False
        ada.save(update_fields=["first_name"])
        assert state(minted) is State.LIVE

    def test_a_rolled_back_change_is_rolled_back_with_it(self, ada):
        from django.db import transaction

        minted = mint_pat(ada)
        with transaction.atomic():
            deactivate(ada)
            assert state(minted) is State.REVOKED
            transaction.set_rollback(True)
        assert state(minted) is State.LIVE

    def test_the_owner_gets_one_mail_about_all_tokens(
        self, ada, django_capture_on_commit_callbacks
    ):
        for _ in range(3):
            mint_pat(ada)
        mail.outbox.clear()
        with django_capture_on_commit_callbacks(execute=True):
            lifecycle.apply_user_event("deactivated", ada)
        assert [message.subject for message in mail.outbox] == ["3 credentials of ada were revoked"]


class TestMembership:
    @pytest.fixture(autouse=True)
    def _chosen(self, settings):
        choose(settings, membership_lost="pause")

    def test_only_tokens_for_which_the_project_was_selected_are_paused(self, ada, engine):
        other = MembershipFactory(user=ada, project__slug="compiler").project
        everywhere = mint_pat(ada)
        here, there = mint_pat(ada, projects=[engine]), mint_pat(ada, projects=[other])
        both = mint_pat(ada, projects=[engine, other])
        Membership.objects.get(user=ada, project=engine).delete()
        assert state(here) is state(both) is State.PAUSED
        assert state(there) is state(everywhere) is State.LIVE

    def test_an_owner_ends_nothing_of_a_stranger_by_adding_and_removing_them(self, ada):
        minted = mint_pat(ada)
        MembershipFactory(user=ada, project__slug="trap").delete()
        assert state(minted) is State.LIVE

    def test_a_deletion_of_many_counts(self, ada, engine):
        minted = mint_pat(ada, projects=[engine])
        Membership.objects.filter(project=engine).delete()
        assert state(minted) is State.PAUSED

    def test_the_deletion_of_a_project_expels_nobody(self, ada, engine):
        minted = mint_pat(ada)
        engine.delete()
        assert state(minted) is State.LIVE
        assert not Membership.objects.filter(user=ada).exists()

    def test_the_deletion_of_projects_expels_nobody(self, ada, engine):
        minted = mint_pat(ada)
        type(engine).objects.filter(pk=engine.pk).delete()
        assert state(minted) is State.LIVE

    def test_a_user_can_be_deleted(self, ada):
        mint_pat(ada)
        ada.delete()
        assert not User.objects.filter(username="ada").exists()

    def test_a_changed_role_ends_nothing(self, ada):
        minted = mint_pat(ada)
        Membership.objects.filter(user=ada).update(role="viewer")
        membership = Membership.objects.get(user=ada)
        membership.role = "developer"
        membership.save()
        assert state(minted) is State.LIVE

    def test_a_site_with_its_own_memberships_calls_the_function(self, ada):
        project = MembershipFactory(user=ada, project__slug="two").project
        minted = mint_pat(ada, projects=[project])
        assert lifecycle.membership_lost(ada, project) == 1
        assert state(minted) is State.PAUSED

    def test_a_name_that_looks_like_a_secret_is_left_out_of_the_reason(self, ada, monkeypatch):
        project = MembershipFactory(user=ada, project__slug="two").project
        minted = mint_pat(ada, projects=[project])
        secret = mint_pat(ada).token
        monkeypatch.setattr(people, "slug_of", lambda project: secret)
        lifecycle.membership_lost(ada, project)
        state(minted)
        assert minted.key.paused_reason == "The user is no longer a member of a project."


class TestLogout:
    @pytest.fixture(autouse=True)
    def _chosen(self, settings):
        choose(settings, logged_out="revoke")

    def test_a_logout_of_nobody_ends_nothing(self, ada):
        minted = mint_pat(ada)
        Client().logout()
        assert state(minted) is State.LIVE

    def test_a_login_and_a_request_with_a_token_end_nothing(self, client, ada):
        minted = mint_pat(ada)
        client.force_login(ada)
        verify(minted.token)
        assert state(minted) is State.LIVE


@pytest.mark.parametrize(
    ("event", "project"),
    [("password", None), ("deactivated", True), ("membership_lost", None), ("", None)],
)
def test_a_wrong_call_is_refused(event, project, ada, engine):
    with pytest.raises(ValueError, match="event"):
        lifecycle.apply_user_event(event, ada, project=engine if project else None)


@pytest.mark.parametrize("event", ["password_changed", "deactivated", "logged_out"])
def test_a_call_for_an_event_without_an_action_ends_nothing(event, ada):
    minted = mint_pat(ada)
    assert people.apply_user_event(event, ada) == 0
    assert state(minted) is State.LIVE


@pytest.mark.parametrize(
    "wrong",
    [{"password": "revoke"}, {"deactivated": "delete"}, {"deactivated": None}, "revoke", None, []],
)
def test_a_wrong_setting_is_reported_and_does_nothing(wrong, ada, settings):
    settings.APIKEYS = settings.APIKEYS | {"WHEN_USER": wrong}
    assert "apikeys.E147" in {each.id for each in run_checks()}
    minted = mint_pat(ada)
    deactivate(ada)
    assert state(minted) is State.LIVE


def test_without_the_setting_saving_a_user_makes_no_query_more(ada, django_assert_num_queries):
    with django_assert_num_queries(1):
        ada.save()


def test_one_user_of_another_model_is_no_user(ada, settings, mocker):
    """Saving any other model asks nothing."""
    choose(settings, deactivated="revoke", password_changed="revoke")
    asked = mocker.spy(people, "_is_on")
    ProjectFactory()
    asked.assert_not_called()
    assert isinstance(User.objects.all(), QuerySet)
    assert UserFactory().pk


@pytest.mark.parametrize("unusable", [True, False])
def test_another_hash_that_is_saved_alone_is_a_change(ada, settings, unusable):
    ada.set_password("first")
    ada.save()
    choose(settings, password_changed="revoke")
    minted = mint_pat(ada)

    ada.password = make_password(None if unusable else "second")
    ada.save(update_fields=["password"])

    assert state(minted) is State.REVOKED


def test_a_user_is_not_saved_if_the_tokens_cannot_be_ended(ada, settings, monkeypatch):
    choose(settings, password_changed="revoke")
    mint_pat(ada)

    def fail(*args, **kwargs):
        raise RuntimeError("The database is away.")

    monkeypatch.setattr(people.ending, "revoke_all", fail)
    ada.set_password("second")
    with pytest.raises(RuntimeError):
        ada.save()

    ada.refresh_from_db()
    assert not ada.check_password("second")
