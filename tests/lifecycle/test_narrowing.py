"""Narrow a key to what it used: what stays, what goes, what is refused, and the undo."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apikeys import lifecycle, token
from apikeys.grants import for_tokens
from apikeys.lifecycle import LifecycleError
from apikeys.models import AuditEvent, PersonalAccessToken, ScopeUse
from apikeys.policy import Policy
from tests.factories import MembershipFactory, ProjectFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db
SCOPES = ["payments:write", "reports:read", "keys:read"]


def used(key, scope, *, days=1, project="", requests=3):
    at = timezone.now() - timedelta(days=days)
    return ScopeUse.objects.create(
        kind=token.KIND_NAMES[key.KIND], credential=key.public_id, project_pk=project,
        scope=scope, first_used_at=at, last_used_at=at, count=requests,
    )  # fmt: skip


def aged(key, days):
    type(key).objects.filter(pk=key.pk).update(created_at=timezone.now() - timedelta(days=days))
    key.refresh_from_db()
    return key


@pytest.fixture
def recorded():
    """The site has recorded uses for a year."""
    used(mint_pat().key, "reports:read", days=365)


@pytest.fixture
def key(recorded):
    return aged(mint_pat(scopes=SCOPES).key, 200)


def code(function, *args, **kwargs):
    with pytest.raises(LifecycleError) as error:
        function(*args, **kwargs)
    return error.value.code


class TestUses:
    def test_tell_what_was_used_recently(self, key):
        used(key, "reports:read", days=5)
        used(key, "payments:write", days=120)
        found = lifecycle.uses(key)
        assert (found.recent, found.keep, found.is_narrowable) == (
            ("reports:read",),
            ("reports:read",),
            True,
        )
        assert found.removed == ("keys:read", "payments:write")
        assert found.scopes["keys:read"] is None
        assert found.scopes["payments:write"].requests == 3
        assert not found.is_since_creation

    def test_keep_only_to_read_if_nothing_was_written(self, key):
        used(key, "payments:read")
        found = lifecycle.uses(key)
        assert (found.keep, found.added) == (("payments:read",), ("payments:read",))
        assert found.recent == ("payments:write",)

    def test_keep_to_write_if_anything_was_written(self, key):
        used(key, "payments:read")
        used(key, "payments:write", days=80)
        assert lifecycle.uses(key).keep == ("payments:write",)

    def test_of_a_scope_that_the_key_lost_keep_nothing(self, key):
        used(key, "invoices:write")
        found = lifecycle.uses(key)
        assert (found.keep, found.is_used, found.is_narrowable) == ((), False, False)

    def test_of_a_rotated_key_count_for_its_successor(self, key):
        used(key, "reports:read", days=40)
        successor = lifecycle.rotate(key).key
        assert lifecycle.uses(successor).keep == ("reports:read",)

    def test_of_another_key_do_not_count(self, key):
        other = mint_key(scopes=SCOPES).key
        ScopeUse.objects.create(
            kind="project_key", credential=key.public_id, scope="keys:read", count=1,
            first_used_at=timezone.now(), last_used_at=timezone.now(),
        )  # fmt: skip
        used(other, "reports:read")
        assert not lifecycle.uses(key).is_used

    def test_count_from_the_creation_of_a_young_key(self, recorded):
        key = aged(mint_pat(scopes=SCOPES).key, 30)
        used(key, "reports:read")
        found = lifecycle.uses(key)
        assert found.is_since_creation
        assert found.since == key.created_at
        assert found.is_narrowable

    def test_of_a_few_days_are_too_few(self, recorded):
        key = aged(mint_pat(scopes=SCOPES).key, 6)
        used(key, "reports:read")
        assert not lifecycle.uses(key).is_narrowable
        assert code(lifecycle.keep_used, key) == "too_new"

    def test_are_too_few_while_the_site_has_just_begun_to_record(self):
        key = aged(mint_pat(scopes=SCOPES).key, 400)
        used(key, "reports:read", days=2)
        assert not lifecycle.uses(key).is_since_creation
        assert code(lifecycle.keep_used, key) == "too_new"


class TestProjects:
    @pytest.fixture
    def projects(self):
        return [ProjectFactory() for _ in range(3)]

    @pytest.fixture
    def key(self, recorded, projects):
        minted = mint_pat(scopes=SCOPES)
        for project in projects:
            MembershipFactory(user=minted.key.user, project=project)
        lifecycle.edit(minted.key, projects=projects)
        return aged(minted.key, 200)

    def test_that_were_not_used_go(self, key, projects):
        used(key, "reports:read", project=str(projects[1].pk))
        lifecycle.keep_used(key)
        assert key.reach() == [projects[1]]
        lifecycle.undo(key)
        assert set(key.reach()) == set(projects)

    def test_stay_if_a_request_named_none(self, key, projects):
        used(key, "reports:read", project=str(projects[1].pk))
        used(key, "reports:read")
        lifecycle.keep_used(key)
        assert set(key.reach()) == set(projects)

    def test_undo_never_gives_a_project_that_took_the_slug(self, key, projects):
        used(key, "reports:read", project=str(projects[1].pk))
        lifecycle.keep_used(key)
        slug = projects[0].slug
        projects[0].delete()
        other = ProjectFactory(slug=slug)
        MembershipFactory(user=key.user, project=other)
        lifecycle.undo(key)
        assert set(key.reach()) == {projects[1], projects[2]}


class TestKeepUsed:
    def test_removes_the_rest_and_marks_the_event(self, key):
        used(key, "reports:read")
        changes = lifecycle.keep_used(key, by=key.user)
        assert changes == {"scopes": (sorted(SCOPES), ["reports:read"])}
        assert PersonalAccessToken.objects.get(pk=key.pk).scopes == ("reports:read",)
        event = AuditEvent.objects.filter(event="edited").first()
        assert event.changes["kept_used"] == {
            "days": 90,
            "scopes": ["keys:read", "payments:write"],
            "projects": [],
        }

    def test_never_removes_everything(self, key):
        assert code(lifecycle.keep_used, key) == "nothing_used"
        used(key, "reports:read", days=100)
        assert code(lifecycle.keep_used, key) == "nothing_used"
        assert set(key.scopes) == set(SCOPES)

    def test_refuses_a_key_that_used_everything(self, key):
        for scope in SCOPES:
            used(key, scope)
        assert code(lifecycle.keep_used, key) == "nothing_unused"

    def test_refuses_what_a_person_did_not_see(self, key):
        used(key, "reports:read")
        shown = lifecycle.uses(key).mark
        used(key, "keys:read")
        assert code(lifecycle.keep_used, key, shown=shown) == "uses_changed"
        assert set(key.scopes) == set(SCOPES)

    def test_refuses_a_revoked_key(self, key):
        used(key, "reports:read")
        lifecycle.revoke(key)
        assert code(lifecycle.keep_used, key) == "revoked_key"

    def test_does_not_restore_what_was_removed_meanwhile(self, key):
        used(key, "reports:read")
        used(key, "keys:read")
        shown = lifecycle.uses(key).mark
        stale = PersonalAccessToken.objects.get(pk=key.pk)
        lifecycle.edit(key, scopes=["reports:read"])
        assert code(lifecycle.keep_used, stale, shown=shown) in ("nothing_unused", "uses_changed")
        key.refresh_from_db()
        assert key.scopes == ("reports:read",)


class TestUndo:
    @pytest.fixture
    def narrowed(self, key):
        used(key, "reports:read")
        lifecycle.keep_used(key)
        return key

    def test_restores_exactly_what_was_removed_and_only_once(self, narrowed):
        lifecycle.undo(narrowed)
        assert set(narrowed.scopes) == set(SCOPES)
        assert lifecycle.undoable(narrowed) is None
        assert code(lifecycle.undo, narrowed) == "nothing_to_undo"

    def test_survives_a_new_name(self, narrowed):
        lifecycle.edit(narrowed, name="other")
        lifecycle.undo(narrowed)
        assert set(narrowed.scopes) == set(SCOPES)

    @pytest.mark.parametrize("scopes", [["payments:read"], ["reports:read", "keys:read"]])
    def test_is_gone_after_another_edit(self, narrowed, scopes):
        lifecycle.edit(narrowed, scopes=scopes)
        assert code(lifecycle.undo, narrowed) == "nothing_to_undo"

    def test_is_gone_after_an_edit_and_back(self, narrowed):
        lifecycle.edit(narrowed, scopes=["payments:read"])
        lifecycle.edit(narrowed, scopes=["reports:read"])
        assert code(lifecycle.undo, narrowed) == "nothing_to_undo"

    def test_is_gone_after_a_change_that_wrote_no_event(self, narrowed):
        type(narrowed).objects.filter(pk=narrowed.pk).update(scope="keys:read reports:read")
        assert code(lifecycle.undo, narrowed) == "nothing_to_undo"

    def test_is_gone_after_seven_days(self, narrowed, monkeypatch):
        later = timezone.now() + timedelta(days=7, minutes=1)
        monkeypatch.setattr("apikeys.lifecycle.narrowing.timezone.now", lambda: later)
        assert code(lifecycle.undo, narrowed) == "nothing_to_undo"

    def test_is_refused_for_what_the_user_may_no_longer_grant(self, narrowed, settings):
        settings.APIKEYS = settings.APIKEYS | {"POLICY": "tests.lifecycle.test_narrowing.Fewer"}
        within = for_tokens(narrowed.user)
        assert code(lifecycle.undo, narrowed, within=within) == "scope_not_grantable"
        narrowed.refresh_from_db()
        assert narrowed.scopes == ("reports:read",)

    def test_is_gone_for_a_rotated_or_revoked_key(self, narrowed):
        successor = lifecycle.rotate(narrowed).key
        assert lifecycle.undoable(narrowed) is None
        assert code(lifecycle.undo, successor) == "nothing_to_undo"
        lifecycle.revoke(narrowed)
        assert code(lifecycle.undo, narrowed) == "revoked_key"


class Fewer(Policy):
    """Users may only grant scopes that read."""

    def grantable(self, user, project=None):
        return frozenset({"payments:read", "reports:read"})


class TestCommand:
    @pytest.fixture
    def edit(self, key):
        def edit(*options):
            out = io.StringIO()
            call_command("apikeys", "edit", key.public_id, *options, stdout=out, no_color=True)
            return out.getvalue()

        return edit

    def test_removes_what_was_not_used_and_restores_it(self, key, edit):
        used(key, "reports:read", days=5)
        assert edit("--keep-used", "90d") == (
            "scopes: keys:read payments:write reports:read -> reports:read\n"
        )
        assert edit("--undo-narrowing") == (
            "scopes: reports:read -> keys:read payments:write reports:read\n"
        )
        key.refresh_from_db()
        assert set(key.scopes) == set(SCOPES)

    @pytest.mark.parametrize("others", [["--name", "other"], ["--scope", "keys:read"]])
    @pytest.mark.parametrize("option", [["--keep-used", "90d"], ["--undo-narrowing"]])
    def test_refuses_to_change_something_else_too(self, key, edit, option, others):
        used(key, "reports:read", days=5)
        with pytest.raises(CommandError, match="alone"):
            edit(*option, *others)
        key.refresh_from_db()
        assert set(key.scopes) == set(SCOPES)

    def test_refuses_to_narrow_and_undo_at_once(self, edit):
        with pytest.raises(CommandError, match="alone"):
            edit("--undo-narrowing", "--keep-used", "90d")

    def test_has_nothing_to_undo(self, edit):
        with pytest.raises(CommandError, match="nothing to undo"):
            edit("--undo-narrowing")
