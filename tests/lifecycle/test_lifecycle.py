"""Mint, rotate, revoke: what is asked for is done whole, or refused by name and not at all."""

import threading
from datetime import timedelta

import pytest
from django.utils import timezone
from django.views.debug import ExceptionReporter

from apikeys import hashing, lifecycle, token
from apikeys.lifecycle import LifecycleError, minting
from apikeys.models import PersonalAccessToken, ProjectKey, State
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat
from tests.threads import at_once

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


@pytest.fixture(params=["pat", "key"])
def mint(request):
    return mint_pat if request.param == "pat" else mint_key


@pytest.fixture
def clock(monkeypatch):
    """Time that goes on when the test says so."""

    class Clock:
        now = timezone.now()

    monkeypatch.setattr("django.utils.timezone.now", lambda: Clock.now)
    return Clock


def fresh(key):
    return type(key).objects.get(pk=key.pk)


def refuses(code, call, *args, **kwargs):
    """Calls; asserts that it was refused by this code, in a sentence, without a trace."""
    before = [
        list(model.objects.order_by("pk").values()) for model in (PersonalAccessToken, ProjectKey)
    ]
    with pytest.raises(LifecycleError) as error:
        call(*args, **kwargs)
    after = [
        list(model.objects.order_by("pk").values()) for model in (PersonalAccessToken, ProjectKey)
    ]
    assert error.value.code == code
    assert error.value.message.endswith(".")
    assert after == before
    return error.value


def is_refused(text):
    try:
        verify(text)
    except Refused as error:
        return error.refusal.code
    return None


# Mint


def test_the_text_is_stored_nowhere(mint, db):
    minted = mint()
    secret = token.parse(minted.token, "acme").secret
    row = type(minted.key).objects.values().get()

    assert secret not in str(row)
    assert minted.token not in repr(minted)
    assert secret not in f"{minted} {minted.key} {vars(minted.key)}"
    assert hashing.check_root(secret, row["root"])


def test_a_key_is_as_it_was_asked_for(db):
    project, maker, end = ProjectFactory(), UserFactory(), timezone.now() + DAY
    key = fresh(
        mint_key(
            project,
            name="  the \t server\n",
            scopes=["reports:read", "payments:write", "reports:read"],
            expires_at=end,
            by=maker,
        ).key
    )
    assert (key.name, key.scopes) == ("the server", ("payments:write", "reports:read"))
    assert (key.project, key.created_by, key.state()) == (project, maker, State.LIVE)
    assert abs(key.expires_at - end) < timedelta(milliseconds=1)


def test_every_key_has_an_id_and_a_secret_of_its_own(mint, db):
    texts = [mint().token for _ in range(5)]
    parsed = [token.parse(text, "acme") for text in texts]
    assert len({p.public_id for p in parsed}) == len({p.secret for p in parsed}) == 5


@pytest.mark.parametrize(
    ("code", "field", "asked"),
    [
        ("name_required", "name", {"name": ""}),
        ("name_required", "name", {"name": " \t\n"}),
        ("name_too_long", "name", {"name": "x" * 101}),
        ("name_too_long", "name", {"name": "ä" * 101}),
        ("invalid_name", "name", {"name": "a\x00b"}),
        ("invalid_name", "name", {"name": "a\x1b[2Jb"}),
        ("invalid_name", "name", {"name": "a\ud800"}),
        ("scope_required", "scopes", {"scopes": []}),
        ("scope_required", "scopes", {"scopes": ()}),
        ("unknown_scope", "scopes", {"scopes": ["payments:read", "admin:write"]}),
        ("unknown_scope", "scopes", {"scopes": ["payments:read payments:write"]}),
        ("unknown_scope", "scopes", {"scopes": ["Payments:read"]}),
        ("unknown_scope", "scopes", {"scopes": ["payments:*"]}),
        ("unknown_scope", "scopes", {"scopes": [""]}),
        ("unknown_scope", "scopes", {"scopes": "payments:read"}),
    ],
)
def test_bad_input_is_refused_by_name(mint, db, code, field, asked):
    assert refuses(code, mint, **asked).field == field


@pytest.mark.parametrize("back", [timedelta(0), timedelta(microseconds=1), 400 * DAY])
def test_no_key_is_born_dead(mint, db, clock, back):
    error = refuses("expiry_in_the_past", mint, expires_at=clock.now - back)
    assert error.field == "expires_at"


def test_a_name_may_be_as_long_as_it_may_be_and_in_any_letters(mint, db):
    name = "日本語 ключ 👩‍💻 " + "x" * 80
    name = name + "y" * (100 - len(name))
    assert fresh(mint(name=name).key).name == name


def test_the_deactivated_get_no_key(db):
    refuses("inactive_user", mint_pat, UserFactory(is_active=False))
    refuses("inactive_project", mint_key, ProjectFactory(is_active=False))


def test_a_token_reaches_only_what_its_user_is_in(db):
    member, stranger = MembershipFactory(), ProjectFactory()
    gone = MembershipFactory(user=member.user, project__is_active=False).project

    refuses("project_required", mint_pat, member.user, projects=[])
    for project in (stranger, gone):
        error = refuses(
            "unknown_project", mint_pat, member.user, projects=[member.project, project]
        )
        assert error.field == "projects"
        assert project.slug in error.message
        assert member.project.slug not in error.message

    key = mint_pat(member.user, projects=iter([member.project])).key
    assert list(fresh(key).projects.all()) == [member.project]
    assert not fresh(key).all_projects
    assert fresh(mint_pat(member.user).key).all_projects


def test_a_call_that_makes_no_sense_is_a_type_error(db):
    common = {"name": "x", "scopes": ["payments:read"]}
    with pytest.raises(TypeError, match="not both"):
        lifecycle.mint(user=UserFactory(), project=ProjectFactory(), **common)
    with pytest.raises(TypeError, match="not both"):
        lifecycle.mint(**common)
    with pytest.raises(TypeError, match="only for a user"):
        lifecycle.mint(project=ProjectFactory(), projects=[], **common)
    with pytest.raises(TypeError, match="allowed_network"):
        lifecycle.mint(user=UserFactory(), allowed_network=["203.0.113.7"], **common)


def test_nothing_is_left_of_a_mint_that_failed_half_way(db, monkeypatch):
    member = MembershipFactory()

    def fail(*args):
        raise OSError

    # The selected projects are written after the token.
    descriptor = type(PersonalAccessToken(user=member.user, pk=0).projects)
    monkeypatch.setattr(descriptor, "set", fail)
    with pytest.raises(OSError):  # noqa: PT011
        mint_pat(member.user, projects=[member.project])
    assert not PersonalAccessToken.objects.exists()


# Rotate


def test_the_successor_is_the_same_but_for_id_and_secret(db):
    member = MembershipFactory()
    old = mint_pat(member.user, projects=[member.project], expires_at=timezone.now() + 30 * DAY)
    new = lifecycle.rotate(fresh(old.key))

    before, after = fresh(old.key), fresh(new.key)
    assert (after.name, after.scope, after.user) == (before.name, before.scope, before.user)
    assert list(after.projects.all()) == [member.project]
    assert not after.all_projects
    assert after.expires_at == PersonalAccessToken.objects.get(pk=new.key.pk).expires_at
    assert abs(after.expires_at - old.key.expires_at) < timedelta(milliseconds=1)
    assert after.public_id != before.public_id
    assert token.parse(new.token, "acme").secret != token.parse(old.token, "acme").secret
    assert (after.last_used_at, after.revoked_at, after.rotated_at) == (None, None, None)
    assert verify(new.token).credential_id == after.public_id
    assert verify(old.token).credential_id == before.public_id


def test_a_restriction_to_projects_that_are_gone_stays_a_restriction(db):
    member = MembershipFactory()
    old = mint_pat(member.user, projects=[member.project])
    member.project.delete()
    new = lifecycle.rotate(old.key)
    assert not fresh(new.key).all_projects
    assert list(verify(new.token).projects()) == []


def test_who_rotates_a_project_key_made_its_successor(db):
    maker, other = UserFactory(), UserFactory()
    old = mint_key(by=maker)
    new = lifecycle.rotate(old.key, by=other)
    assert (new.key.project, new.key.created_by) == (old.key.project, other)
    assert lifecycle.rotate(new.key).key.created_by == other


@pytest.mark.parametrize(
    ("overlap", "lasts"),
    [(None, DAY), (timedelta(0), timedelta(0)), (HOUR, HOUR), (WEEK, WEEK)],
)
def test_the_old_key_lasts_for_the_overlap(mint, db, clock, overlap, lasts):
    old = mint()
    new = lifecycle.rotate(old.key, overlap=overlap)
    start = clock.now

    clock.now = start + lasts - timedelta(microseconds=1)
    assert lasts == timedelta(0) or is_refused(old.token) is None
    clock.now = start + lasts
    assert is_refused(old.token) == "expired_key"
    clock.now = start + 365 * DAY
    assert is_refused(new.token) is None


def test_a_site_has_its_own_overlap(mint, db, clock, settings):
    settings.APIKEYS = {**settings.APIKEYS, "ROTATION_OVERLAP": HOUR}
    old = mint()
    lifecycle.rotate(old.key)
    assert old.key.expires_at == clock.now + HOUR


@pytest.mark.parametrize("overlap", [-timedelta(microseconds=1), WEEK + timedelta(microseconds=1)])
def test_an_overlap_out_of_range_is_refused(mint, db, overlap):
    key = mint().key
    assert refuses("overlap_out_of_range", lifecycle.rotate, key, overlap=overlap).field == (
        "overlap"
    )
    assert key.rotated_at is None
    assert key.successor is None


def test_no_key_outlives_its_expiry_by_being_rotated(mint, db, clock):
    old = mint(expires_at=clock.now + HOUR)
    new = lifecycle.rotate(old.key, overlap=WEEK)
    clock.now += HOUR
    assert is_refused(old.token) == "expired_key"
    assert is_refused(new.token) == "expired_key"


def test_nor_by_an_instance_that_does_not_know_its_expiry(mint, db, clock):
    old = mint()
    type(old.key).objects.update(expires_at=clock.now + HOUR)
    assert old.key.expires_at is None
    lifecycle.rotate(old.key, overlap=WEEK)
    clock.now += HOUR
    assert is_refused(old.token) == "expired_key"


def test_the_successor_may_be_given_an_end_of_its_own(mint, db, clock):
    old = mint(expires_at=clock.now + DAY)
    new = lifecycle.rotate(old.key, expires_at=clock.now + 90 * DAY)
    assert fresh(new.key).expires_at > clock.now + 89 * DAY
    forever = lifecycle.rotate(new.key, expires_at=None)
    assert fresh(forever.key).expires_at is None
    refuses("expiry_in_the_past", lifecycle.rotate, forever.key, expires_at=clock.now)


def test_a_key_is_rotated_once(mint, db):
    old = mint().key
    stale = fresh(old)
    new = lifecycle.rotate(old).key
    for instance in (old, stale, fresh(old)):
        error = refuses("already_rotated", lifecycle.rotate, instance)
        assert new.public_id in error.message
        assert instance.successor == new, "an instance that was never saved"


def test_the_dead_have_no_successor(mint, db, clock):
    revoked, expired = mint(), mint(expires_at=clock.now + HOUR)
    stale = fresh(revoked.key)
    lifecycle.revoke(revoked.key)
    refuses("revoked_key", lifecycle.rotate, revoked.key)
    refuses("revoked_key", lifecycle.rotate, stale)
    assert stale.successor is None
    clock.now += HOUR
    refuses("expired_key", lifecycle.rotate, expired.key)


def test_who_rotates_a_key_in_its_overlap_is_told_of_its_successor(mint, db, clock):
    old = mint().key
    new = lifecycle.rotate(old, overlap=timedelta(0)).key
    clock.now += DAY
    assert new.public_id in refuses("already_rotated", lifecycle.rotate, old).message


def test_a_key_that_was_deleted_is_unknown(mint, db):
    key = mint().key
    stale = fresh(key)
    key.delete()
    refuses("unknown_key", lifecycle.rotate, stale)
    refuses("unknown_key", lifecycle.revoke, stale)


def test_the_chain_is_kept(mint, db):
    keys = [mint().key]
    for _ in range(3):
        keys.append(lifecycle.rotate(fresh(keys[-1])).key)
    for key in keys:
        assert fresh(key).chain() == keys
    assert fresh(keys[0]).successor == keys[1]
    assert fresh(keys[3]).replaces == keys[2]
    assert fresh(keys[3]).successor is None


def test_a_rotation_that_fails_half_way_changes_nothing(mint, db, monkeypatch):
    old = mint()

    def fail(*args, **kwargs):
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(type(old.key), "save", fail)
        with pytest.raises(OSError):  # noqa: PT011
            lifecycle.rotate(old.key)
    assert is_refused(old.token) is None
    assert fresh(old.key).rotated_at is None
    assert lifecycle.rotate(old.key).key == fresh(old.key).successor


@pytest.mark.parametrize("work", ["mint", "rotate"])
def test_an_error_page_shows_no_key(db, monkeypatch, rf, work):
    old = mint_pat()
    known = {}

    def compose(*args, compose=token.compose):
        known["secret"] = args[-1]
        return compose(*args)

    monkeypatch.setattr(token, "compose", compose)
    monkeypatch.setattr(type(old.key), "save", None)
    with pytest.raises(TypeError) as error:
        mint_pat() if work == "mint" else lifecycle.rotate(old.key)
    trace = error.tb
    while not trace.tb_frame.f_globals["__name__"].startswith("apikeys.lifecycle."):
        trace = trace.tb_next
    page = ExceptionReporter(rf.get("/"), error.type, error.value, trace)
    assert known["secret"] not in page.get_traceback_html()


# Revoke


def test_who_when_and_why(mint, db, clock):
    admin, minted = UserFactory(), mint()
    assert lifecycle.revoke(minted.key, by=admin, reason="The laptop was lost.") is True

    key = fresh(minted.key)
    assert (key.revoked_by, key.revoked_reason) == (admin, "The laptop was lost.")
    assert key.revoked_at is not None
    assert key.state() is minted.key.state() is State.REVOKED
    assert is_refused(minted.token) == "revoked_key"


def test_the_first_revocation_counts(mint, db):
    first, second, minted = UserFactory(), UserFactory(), mint()
    stale = fresh(minted.key)
    lifecycle.revoke(minted.key, by=first, reason="first")
    when = fresh(minted.key).revoked_at

    for instance in (stale, minted.key):
        assert lifecycle.revoke(instance, by=second, reason="second") is False
        assert (instance.revoked_by, instance.revoked_reason) == (first, "first")
    assert fresh(minted.key).revoked_at == when


@pytest.mark.parametrize(
    ("code", "reason"),
    [("reason_too_long", "x" * 201), ("invalid_reason", "a\x00"), ("invalid_reason", "\udfff")],
)
def test_a_bad_reason_revokes_nothing(mint, db, code, reason):
    minted = mint()
    assert refuses(code, lifecycle.revoke, minted.key, reason=reason).field == "reason"
    assert is_refused(minted.token) is None


def test_a_reason_may_have_lines(mint, db):
    key = mint().key
    lifecycle.revoke(key, reason="lost\nin a train")
    assert fresh(key).revoked_reason == "lost\nin a train"


def test_an_expired_key_may_be_revoked_too(mint, db, clock):
    minted = mint(expires_at=clock.now + HOUR)
    clock.now += DAY
    assert lifecycle.revoke(minted.key, reason="leaked")
    assert is_refused(minted.token) == "revoked_key"


def test_revoking_ends_one_key_of_a_chain(mint, db):
    old = mint()
    new = lifecycle.rotate(old.key)
    lifecycle.revoke(old.key)
    assert is_refused(old.token) == "revoked_key"
    assert is_refused(new.token) is None


def test_a_rotation_does_not_undo_a_revocation(mint, db):
    """Revoked in its overlap, it stays so, and the instance that rotated it knows nothing."""
    old = mint()
    new = lifecycle.rotate(fresh(old.key))
    lifecycle.revoke(old.key)
    lifecycle.revoke(new.key)
    assert is_refused(old.token) == is_refused(new.token) == "revoked_key"


# At the same moment


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("overlap", [timedelta(0), DAY])
def test_rotations_at_the_same_moment_yield_one_successor(mint, overlap):
    old = mint()
    instances = [fresh(old.key) for _ in range(4)]
    answers = at_once(
        *(lambda key=key: lifecycle.rotate(key, overlap=overlap) for key in instances)
    )
    (won,) = [answer for answer in answers if not isinstance(answer, str)]

    assert answers.count("already_rotated") == 3
    assert type(old.key).objects.count() == 2
    assert fresh(old.key).successor == won.key
    assert is_refused(won.token) is None


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_rotation_waits_for_one_that_is_not_committed_yet(mint, monkeypatch):
    """The slow one holds the row; whoever comes meanwhile neither fails nor gets through."""
    old = mint()
    has_the_row, goes_on = threading.Event(), threading.Event()
    save = minting.save

    def slow(*args):
        has_the_row.set()
        # The other waits for the row: it cannot be seen to wait, so it is given a moment.
        goes_on.wait(timeout=0.5)
        save(*args)

    monkeypatch.setattr(minting, "save", slow)
    first, second = fresh(old.key), fresh(old.key)

    def later():
        assert has_the_row.wait(timeout=30)
        return lifecycle.rotate(second)

    won, lost = at_once(lambda: lifecycle.rotate(first), later)
    assert lost == "already_rotated"
    assert fresh(old.key).successor == won.key


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_revoking_and_rotating_at_the_same_moment(mint):
    """Whichever comes first, the old key is dead; its successor lives only if it came first."""
    for _ in range(3):
        old = mint()
        instances = [fresh(old.key), fresh(old.key)]
        rotated, revoked = at_once(
            lambda key=instances[0]: lifecycle.rotate(key),
            lambda key=instances[1]: lifecycle.revoke(key, reason="leaked"),
        )
        assert revoked is True
        assert is_refused(old.token) == "revoked_key"
        if isinstance(rotated, str):
            assert rotated == "revoked_key"
            assert fresh(old.key).successor is None
        else:
            assert fresh(old.key).successor == rotated.key
            assert is_refused(rotated.token) is None


@pytest.mark.django_db(transaction=True)
def test_revocations_at_the_same_moment_have_one_author(mint):
    key = mint().key
    people = [UserFactory() for _ in range(4)]
    instances = [fresh(key) for _ in people]
    answers = at_once(
        *(
            lambda key=instance, by=by: lifecycle.revoke(key, by=by, reason=by.username)
            for instance, by in zip(instances, people, strict=True)
        )
    )
    assert sorted(answers) == [False, False, False, True]
    winner = people[answers.index(True)]
    for instance in (fresh(key), *instances):
        assert (instance.revoked_by, instance.revoked_reason) == (winner, winner.username)
