"""Filters return the right keys, and no list scans the whole table."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys.keys import queries
from apikeys.keys.facts import record, with_facts
from apikeys.keys.queries import expiring, idle, in_state, known, lasting, matching, unused, used
from apikeys.models import PersonalAccessToken, ProjectKey, State
from tests.benchmarks.listing import ENDED, OLD, ONE, analyze, fill, recording
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat
from tests.tiers import long

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

ROWS = 20_000


@pytest.fixture
def of_each_state():
    """Create keys for each combination of revocation, expiry, approval and pause."""
    user, now = MembershipFactory().user, timezone.now()
    for revoked_at in (None, now):
        for expires_at in (None, now - timedelta(days=1), now + timedelta(days=1)):
            for is_pending in (False, True):
                for paused_at in (None, now):
                    key = mint_pat(user).key
                    PersonalAccessToken.objects.filter(pk=key.pk).update(
                        revoked_at=revoked_at,
                        expires_at=expires_at,
                        is_pending=is_pending,
                        paused_at=paused_at,
                    )
    return PersonalAccessToken.objects.all()


@pytest.fixture(params=["few", "many"])
def number(request, monkeypatch):
    if request.param == "many":
        monkeypatch.setattr(queries, "FEW", 0)


@pytest.mark.parametrize(
    "wanted", [[each] for each in State] + [[State.LIVE, State.PENDING], list(State)]
)
def test_in_state_returns_the_keys_in_that_state(of_each_state, number, wanted):
    found = in_state(of_each_state, *wanted)

    assert set(found) == {key for key in of_each_state if key.state() in wanted}
    assert len(found) == len(set(found)) > 0


def test_keys_are_filtered_by_expiry(of_each_state, number):
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


def test_keys_are_filtered_by_last_use(number):
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


def test_matching_returns_keys_that_meet_one_condition(number):
    ada, bob = MembershipFactory().user, MembershipFactory().user
    for user, name in [(ada, "alpha"), (ada, "beta"), (bob, "alps"), (bob, "gamma"), (ada, "al")]:
        mint_pat(user, name=name)
    keys = PersonalAccessToken.objects.all()
    pieces = [Q(name__startswith="al") & ~Q(name="al"), Q(user__in=[bob.pk]), Q(pk__in=[])]

    found = matching(keys, pieces)

    assert sorted(key.name for key in found) == ["alpha", "alps", "gamma"]
    assert known(found) == (3 if queries.FEW else 1)
    assert list(matching(keys, [Q(name="delta")])) == []


def test_known_number_is_dropped_when_a_filter_is_added(of_each_state, monkeypatch):
    monkeypatch.setattr(queries, "FEW", 3)
    many = in_state(of_each_state, State.REVOKED).order_by("-pk")

    assert many.count() > known(many) == 4
    assert known(many.filter(name="")) is known(of_each_state) is None
    assert known(in_state(many, State.LIVE)) == 0


@pytest.fixture(params=[long(ONE), ENDED])
def filled(request, monkeypatch):
    """A user and a project with many keys each."""
    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL scans such a small table although it has an index.")
    monkeypatch.setattr(queries, "FEW", 500)  # the same share of all keys as with a million
    membership = MembershipFactory(role="owner")
    user, project = membership.user, membership.project
    fill(mint_pat(user).key, ROWS, shape=request.param, user=[user])
    fill(mint_key(project).key, ROWS, shape=request.param, project=[project], created_by=[user])
    analyze(PersonalAccessToken, ProjectKey)
    return user, project


def _handler_reads(cursor):
    # FLUSH STATUS would reset the counters, but it also commits.
    cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%%'")
    return {name: int(value) for name, value in cursor.fetchall()}


def examined(query):
    """Return roughly how many rows a statement reads, and its query plan."""
    sql, params = query
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            before = _handler_reads(cursor)
            cursor.execute(sql, params)
            cursor.fetchall()
            read = {name: n - before[name] for name, n in _handler_reads(cursor).items()}
            return sum(read.values()), str(read)
        # SQLite has no counters for rows. Its virtual machine takes some steps for each row.
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
    """Return the SQL statements of a page."""
    made = []

    def note(execute, sql, params, many, context):
        made.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        found = list(in_state(keys, *wanted).order_by("-pk")[:51])
    assert all(key.state() in wanted for key in found)
    return made, found


@pytest.mark.parametrize("kind", ["tokens", "keys"])
def test_pages_of_an_owner_do_not_scan_all_keys(filled, kind):
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


def test_pages_of_all_keys_do_not_scan_all_keys(filled):
    for model in (PersonalAccessToken, ProjectKey):
        for wanted in State:
            made, _ = listing(model.objects.all(), wanted)
            for query in made:
                rows, steps = examined(query)
                assert rows < ROWS / 2, f"{wanted}: {query[0]}\n{steps}"


def test_page_of_old_keys_uses_an_index_and_reads_only_its_rows(monkeypatch):
    if connection.vendor != "sqlite":
        pytest.skip("On SQLite, the query plans show this with few keys too.")
    monkeypatch.setattr(queries, "FEW", 100)
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
def test_admin_searches_do_not_scan_all_keys(filled, client):
    user, project = filled
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    # Many names have the same prefix, but few of these users have keys.
    others = [UserFactory.build(username=f"{user.username}-{n:03}") for n in range(500)]
    type(user).objects.bulk_create([*others, UserFactory.build(username="keyless")])
    tokens, keys = "/admin/apikeys/personalaccesstoken/", "/admin/apikeys/projectkey/"
    for counted in (False, True):  # the plan must not depend on the database's statistics
        if counted:
            analyze(type(user), type(project))
        for url, term, number in [
            (tokens, user.username, queries.FEW),
            (tokens, "key 0001", 100),
            (tokens, "nothing at all", 0),
            (tokens, "keyless", 0),
            (keys, project.slug, queries.FEW),
            (keys, user.username, queries.FEW),
        ]:
            with recording() as made:
                listed = client.get(url, {"q": term}).context["cl"]
            assert listed.result_count == number
            for sql, params in made:
                if sql.startswith("SELECT"):
                    rows, steps = examined((sql, params))
                    assert rows < ROWS / 2, f"{term}: {sql}\n{steps}"


def test_successor_id_is_fetched_in_the_same_query(filled):
    user, _ = filled
    keys = list(PersonalAccessToken.objects.filter(user=user).order_by("-pk")[:2])
    keys[0].replaces = keys[1]
    keys[0].save()
    listed = with_facts(PersonalAccessToken).filter(user=user).order_by("-pk")[:51]

    with CaptureQueriesContext(connection) as captured:
        facts = [record(key) for key in listed]

    assert len(captured) == 3  # keys, users, projects
    assert (facts[1]["replaced_by"], facts[0]["replaces"]) == (
        keys[0].public_id,
        keys[1].public_id,
    )
    assert facts[0]["replaced_by"] is facts[2]["replaced_by"] is None
