"""The SQL of the lists with many keys: no query reads all of them."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apikeys.models import PersonalAccessToken, ProjectKey
from tests.admin.conftest import KEYS, TOKENS
from tests.factories import ProjectFactory, UserFactory, mint_key, mint_pat

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db,
    pytest.mark.skipif(connection.vendor == "mysql", reason="Reads other databases' plans."),
]

#: SQLite plans without looking at how many rows there are.
ROWS = 12_000 if connection.vendor == "sqlite" else 100_000
PAGE_QUERIES = 12


def fill(model, key, **related):
    """Create keys in all states: one in 1,000 is pending, one in 100 expires soon."""
    sqlite = connection.vendor == "sqlite"

    def moved(days_or_minutes, unit):
        if sqlite:
            by = f"({days_or_minutes}) || ' {unit}'"
            return f"strftime('%%Y-%%m-%%d %%H:%%M:%%f', b.created_at, {by})"
        return f"b.created_at + ({days_or_minutes}) * interval '1 {unit}'"

    digits = "printf('%%016d', i)" if sqlite else "lpad(i::text, 16, '0')"
    columns = {field.column: f"b.{field.column}" for field in model._meta.concrete_fields} | {
        "public_id": digits,
        "name": f"'key ' || substr({digits}, 11)",
        "created_at": moved(f"i - {ROWS}", "minute"),
        "expires_at": f"CASE WHEN i %% 100 = 0 THEN {moved('5', 'day')} END",
        "revoked_at": "CASE WHEN i %% 3 = 0 THEN b.created_at END",
        "is_pending": "i %% 1000 = 1",
        "last_used_at": moved("-(i %% 365)", "day"),
        "last_used_on": f"date({moved('-(i %% 365)', 'day')})",
    }
    for name, rows in related.items():
        columns[f"{name}_id"] = f"{min(each.pk for each in rows)} + i %% {len(rows)}"
    del columns["id"]
    table = model._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) "
            "WITH RECURSIVE n(i) AS "
            f"(SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS - 1}) "
            f"SELECT {', '.join(columns.values())} FROM n, {table} b WHERE b.id = %s",
            [key.pk],
        )


def plan(query):
    """Return the query plan of a statement, one line per step."""
    explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
    with connection.cursor() as cursor:
        cursor.execute(explain + query)
        return "\n".join(" ".join(map(str, row)) for row in cursor.fetchall())


def reads_all(steps, table):
    """Whether a step scans the whole table, without an index or a limit."""
    if connection.vendor == "sqlite":
        return f"SCAN {table}\n" in steps + "\n"
    scan = re.search(rf"Seq Scan on {table}\s+\(cost=\S+ rows=(\d+)", steps)
    limit = re.match(r"Limit\s+\(cost=\S+ rows=(\d+)", steps)
    stops_early = scan and limit and "Sort" not in steps and int(scan[1]) > int(limit[1])
    return scan is not None and not stops_early


@pytest.fixture
def filled(client, root):
    users = [UserFactory.build(username=f"user-{n:04}") for n in range(1000)]
    users = type(root).objects.bulk_create(users)
    projects = [ProjectFactory.build(slug=f"team-{n:04}") for n in range(1000)]
    projects = type(projects[0]).objects.bulk_create(projects)
    fill(PersonalAccessToken, mint_pat(users[0]).key, user=users)
    fill(ProjectKey, mint_key(projects[0]).key, project=projects, created_by=users)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


#: Query strings of each list. ``False`` allows a full scan: the condition has no index, because
#: many rows match it.
ASKED = {
    TOKENS: [
        ({}, True),
        ({"p": "3"}, True),
        ({"o": "6"}, True),
        ({"state": "live"}, True),
        ({"state": "pending"}, True),
        ({"state": "rotated"}, True),
        ({"expires": "7"}, True),
        ({"expires": "past"}, True),
        ({"q": "key 0501"}, True),
        ({"q": "user-0042"}, True),
        ({"q": "team-0042"}, True),
        ({"q": "nothing at all"}, True),
        ({"state": "revoked"}, False),
        ({"used": "1"}, True),
        ({"used": "never"}, True),
        ({"used": "not-90", "state": "live"}, False),
    ],
    KEYS: [({}, True), ({"q": "team-0042"}, True), ({"q": "user-0042"}, True)],
}


def test_lists_do_not_read_all_keys(client, filled):
    seen = 0
    for url, queries in ASKED.items():
        model = PersonalAccessToken if url == TOKENS else ProjectKey
        table = model._meta.db_table
        for query, indexed in queries:
            with CaptureQueriesContext(
                connection,
            ) as captured:
                response = client.get(url, query)
            assert response.status_code == 200
            assert len(captured) <= PAGE_QUERIES, query
            statements = [each["sql"] for each in captured if f'FROM "{table}"' in each["sql"]]
            assert statements, query
            is_cut = response.context["cl"].multi_page
            for statement in statements:
                assert "COUNT(" not in statement or "LIMIT 10001" in statement, statement
                assert "LIMIT" in statement or '"id" IN (' in statement or not is_cut, statement
                assert '"root"' not in statement
                assert '"digest"' not in statement
                steps = plan(statement)
                if indexed and not ("COUNT(" in statement and query.get("q") is None):
                    assert not reads_all(steps, table), f"{query}\n{statement}\n{steps}"
                if query.get("q"):  # few rows match, so a walk by age would read all keys
                    assert not re.search(r"apikeys_(token|key)_created\b", steps), (
                        f"{query}\n{statement}\n{steps}"
                    )
                seen += 1
    assert seen >= 2 * sum(map(len, ASKED.values())) - 2

    # The page shows that there are more rows than it has counted.
    page = client.get(TOKENS).content.decode()
    assert "More than 10000 personal access tokens" in " ".join(page.split())
    assert "p=200" in page
    assert client.get(TOKENS, {"p": "200"}).status_code == 200
    assert client.get(TOKENS, {"p": "201"}).status_code == 302


@pytest.mark.parametrize("url", [TOKENS, KEYS])
def test_lists_are_sorted_by_indexed_columns_only(client, root, url):
    mint_pat(root)
    mint_key(ProjectFactory())
    by_index = ("created_at", "id")
    for column in range(1, 10):
        for sign in ("", "-"):
            listed = client.get(url, {"o": f"{sign}{column}"}).context["cl"]
            assert {each.removeprefix("-") for each in listed.queryset.query.order_by} <= {
                *by_index,
                "pk",
            }
