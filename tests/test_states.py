"""Keys by state: the same keys as their state says, and no list that reads past all others."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys import states
from apikeys.models import PersonalAccessToken, ProjectKey, State
from apikeys.records import record, with_facts
from apikeys.states import expiring, idle, in_state, known, lasting, matching, unused, used
from tests.benchmarks.listing import ENDED, OLD, ONE, analyze, fill, recording
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db

ROWS = 20_000


@pytest.fixture
def of_each_state():
    """Two of each, whether or not they expire, and whether or not they await approval."""
    user, now = MembershipFactory().user, timezone.now()
    for revoked_at in (None, now):
        for expires_at in (None, now - timedelta(days=1), now + timedelta(days=1)):
            for is_pending in (False, True):
                for _ in range(2):
                    key = mint_pat(user).key
                    PersonalAccessToken.objects.filter(pk=key.pk).update(
                        revoked_at=revoked_at, expires_at=expires_at, is_pending=is_pending
                    )
    return PersonalAccessToken.objects.all()


@pytest.fixture(params=["few", "many"])
def number(request, monkeypatch):
    if request.param == "many":
        monkeypatch.setattr(states, "FEW", 0)


@pytest.mark.parametrize(
    "wanted", [[each] for each in State] + [[State.LIVE, State.PENDING], list(State)]
)
def test_a_list_has_the_keys_whose_state_it_is(of_each_state, number, wanted):
    found = in_state(of_each_state, *wanted)

    assert set(found) == {key for key in of_each_state if key.state() in wanted}
    assert len(found) == len(set(found)) > 0


def test_keys_by_when_they_expire(of_each_state, number):
    now = timezone.now()
    ends = {key: key.expires_at for key in of_each_state}

    assert set(lasting(of_each_state)) == {key for key, end in ends.items() if end is None}
    assert set(expiring(of_each_state, until=now)) == {
        key for key, end in ends.items() if end is not None and end <= now
    }
    assert set(expiring(of_each_state, after=now, until=now + timedelta(days=2))) == {
        key for key, end in ends.items() if end is not None and end > now
    }
    assert set(expiring(of_each_state, after=now, until=now + timedelta(hours=1))) == set()


def test_keys_by_their_last_use(number):
    now, user = timezone.now(), MembershipFactory().user
    made = now - timedelta(days=200)
    for name, days, created_at in [
        ("today", 0, made),
        ("long ago", 100, made),
        ("never", None, made),
        ("new", None, now),
    ]:
        at = None if days is None else now - timedelta(days=days)
        PersonalAccessToken.objects.filter(pk=mint_pat(user, name=name).key.pk).update(
            created_at=created_at, last_used_at=at, last_used_on=at and at.date()
        )
    keys, since = PersonalAccessToken.objects.all(), now - timedelta(days=30)

    assert {key.name for key in used(keys, since)} == {"today"}
    assert {key.name for key in idle(keys, since)} == {"long ago", "never"}
    assert {key.name for key in unused(keys)} == {"never", "new"}


def test_keys_that_meet_one_of_some_conditions(number):
    ada, bob = MembershipFactory().user, MembershipFactory().user
    for user, name in [(ada, "alpha"), (ada, "beta"), (bob, "alps"), (bob, "gamma"), (ada, "al")]:
        mint_pat(user, name=name)
    keys = PersonalAccessToken.objects.all()
    pieces = [Q(name__startswith="al") & ~Q(name="al"), Q(user__in=[bob.pk]), Q(pk__in=[])]

    found = matching(keys, pieces)

    assert sorted(key.name for key in found) == ["alpha", "alps", "gamma"]
    assert known(found) == (3 if states.FEW else 1)
    assert list(matching(keys, [Q(name="delta")])) == []


def test_many_are_known_to_be_many_until_something_else_is_asked(of_each_state, monkeypatch):
    monkeypatch.setattr(states, "FEW", 3)
    many = in_state(of_each_state, State.REVOKED).order_by("-pk")

    assert many.count() > known(many) == 4
    assert known(many.filter(name="")) is known(of_each_state) is None
    assert known(in_state(many, State.LIVE)) == 0


@pytest.fixture(params=[ONE, ENDED])
def filled(request, monkeypatch):
    """A person and a project with many keys each; who and where, and how their keys are."""
    if connection.vendor == "postgresql":
        pytest.skip("It reads so few rows from end to end, where an index would do as well.")
    monkeypatch.setattr(states, "FEW", 500)  # as small beside all keys as at a million of them
    membership = MembershipFactory(role="owner")
    user, project = membership.user, membership.project
    fill(mint_pat(user).key, ROWS, shape=request.param, user=[user])
    fill(mint_key(project).key, ROWS, shape=request.param, project=[project], created_by=[user])
    analyze(PersonalAccessToken, ProjectKey)
    return user, project


def _handler_reads(cursor):
    # Not FLUSH STATUS before it, which commits.
    cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%%'")
    return {name: int(value) for name, value in cursor.fetchall()}


def examined(query):
    """About how many rows a statement reads, and what the database says of its way."""
    sql, params = query
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            before = _handler_reads(cursor)
            cursor.execute(sql, params)
            cursor.fetchall()
            read = {name: n - before[name] for name, n in _handler_reads(cursor).items()}
            return sum(read.values()), str(read)
        # SQLite counts nothing; a program of its machine takes some steps a row.
        steps = 0

        def step():
            nonlocal steps
            steps += 1
            return 0

        connection.connection.set_progress_handler(step, 10)
        try:
            cursor.execute(sql, params)
            cursor.fetchall()
        finally:
            connection.connection.set_progress_handler(None, 0)
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
        return steps, "\n".join(str(row) for row in cursor.fetchall())


def listing(keys, *wanted):
    """The statements of a page."""
    made = []

    def note(execute, sql, params, many, context):
        made.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        found = list(in_state(keys, *wanted).order_by("-pk")[:51])
    assert all(key.state() in wanted for key in found)
    return made, found


@pytest.mark.parametrize("kind", ["tokens", "keys"])
def test_no_page_of_an_owner_reads_past_all_keys(filled, kind):
    user, project = filled
    model, owner = (PersonalAccessToken, user) if kind == "tokens" else (ProjectKey, project)
    keys = with_facts(model).filter(**{"user" if kind == "tokens" else "project": owner})
    shown = 0
    for wanted in [[each] for each in State] + [[State.LIVE, State.PENDING]]:
        made, found = listing(keys, *wanted)
        shown += len(found)
        for query in made:
            rows, steps = examined(query)
            assert rows < ROWS / 2, f"{wanted}: {query[0]}\n{steps}"
    assert shown > 100


def test_no_page_of_all_keys_reads_past_them(filled):
    for model in (PersonalAccessToken, ProjectKey):
        for wanted in State:
            made, _ = listing(model.objects.all(), wanted)
            for query in made:
                rows, steps = examined(query)
                assert rows < ROWS / 2, f"{wanted}: {query[0]}\n{steps}"


def test_a_page_of_old_keys_is_found_in_an_index_and_no_row_beside_it_is_read(monkeypatch):
    if connection.vendor != "sqlite":
        pytest.skip("SQLite says so in its plans, for however few keys.")
    monkeypatch.setattr(states, "FEW", 100)
    user = MembershipFactory(role="owner").user
    fill(mint_pat(user).key, 1000, shape=OLD, user=[user])
    analyze(PersonalAccessToken)
    every = PersonalAccessToken.objects.order_by("-created_at", "-pk")
    for keys, index in [
        (with_facts(PersonalAccessToken).filter(user=user).order_by("-pk"), "of_user ("),
        (every, "created"),
    ]:
        with recording() as made:
            page = list(in_state(keys, State.REVOKED)[:51])

        assert page == [key for key in keys if key.state() is State.REVOKED][:51]
        assert len(page) == 51
        walk, rows = made[1:3]
        assert f"USING COVERING INDEX apikeys_tokens_{index}" in examined(walk)[1]
        assert "USING INTEGER PRIMARY KEY (rowid=?)" in examined(rows)[1]


@pytest.mark.django_db(transaction=True)  # MariaDB counts what it plans by once it is committed
def test_no_search_of_the_admin_reads_past_all_keys(filled, client):
    user, project = filled
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    tokens, keys = "/admin/apikeys/personalaccesstoken/", "/admin/apikeys/projectkey/"
    for url, term, number in [
        (tokens, user.username, states.FEW),
        (tokens, "key 0001", 100),
        (tokens, "nothing at all", 0),
        (keys, project.slug, states.FEW),
        (keys, user.username, states.FEW),
    ]:
        with recording() as made:
            listed = client.get(url, {"q": term}).context["cl"]
        assert listed.result_count == number
        for sql, params in made:
            if sql.startswith("SELECT"):
                rows, steps = examined((sql, params))
                assert rows < ROWS / 2, f"{term}: {sql}\n{steps}"


def test_the_key_that_a_key_was_rotated_into_is_told_in_the_same_query(filled):
    user, _ = filled
    keys = list(PersonalAccessToken.objects.filter(user=user).order_by("-pk")[:2])
    keys[0].replaces = keys[1]
    keys[0].save()
    listed = with_facts(PersonalAccessToken).filter(user=user).order_by("-pk")[:51]

    with CaptureQueriesContext(connection) as captured:
        facts = [record(key) for key in listed]

    assert len(captured) == 3  # the keys, their user, their projects
    assert (facts[1]["replaced_by"], facts[0]["replaces"]) == (
        keys[0].public_id,
        keys[1].public_id,
    )
    assert facts[0]["replaced_by"] is facts[2]["replaced_by"] is None
