"""What lists cost the database at a million keys: ``python -m tests.benchmarks.listing``.

The settings pages, the JSON API and Django's admin, with their filters, searches and next pages,
against ``--keys`` keys of each kind. ``--shape`` says whose: all of one owner (``one``), all of one
owner and a few of them live among all that ended (``ended``), all of one owner and sorted by their
state (``old``), or of a thousand owners (``many``).
Each page is asked for once; the statements that it made are then run again, to their last row,
and the sum of the fastest run of each is told, in milliseconds: the others are as busy as the
machine is. ``server`` is the CPU time of the whole request, with SQLite's, in its fastest run:
``--keys 1000 --shape one`` is what a user with many tokens waits for. The database is the one that
``TEST_DATABASE`` names; ``--keep`` keeps it, filled, for the next run.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from textwrap import shorten
from typing import Any

from tests.benchmarks.database import own_database

OWNERS = 1000
LIVE_AMONG_ENDED = 20
MOST = 100.0  # milliseconds

ONE, ENDED, OLD, MANY = "one", "ended", "old", "many"

#: Of an insert that makes keys out of one: what differs, by SQL of each database.
_DIALECTS = {
    "sqlite": {
        "source": "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < {last}) SELECT i FROM n) AS n",
        "digits": "printf('%%016d', n.i)",
        "moved": "strftime('%%Y-%%m-%%d %%H:%%M:%%f', b.created_at, ({amount}) || ' {unit}s')",
    },
    "postgresql": {
        "source": "generate_series(0, {last}) AS n(i)",
        "digits": "lpad(n.i::text, 16, '0')",
        "moved": "b.created_at + ({amount}) * interval '1 {unit}'",
    },
    "mysql": {
        "source": "(SELECT CAST(seq AS SIGNED) AS i FROM seq_0_to_{last}) AS n",
        "digits": "lpad(n.i, 16, '0')",
        "moved": "b.created_at + INTERVAL ({amount}) {unit}",
    },
}


def fill(key: Any, count: int, *, shape: str = MANY, **owners: list[Any]) -> None:
    """Make ``count`` keys out of ``key``, one a minute until it was made, with these owners.

    Of ``one`` and ``many`` a third is revoked, one in 100 has an end that is mostly past, one in
    1,000 awaits approval, and one in 500 was replaced by the next. Of ``ended`` all but 20 are
    revoked or expired. Of ``old`` the oldest fifth is revoked, the next two live, the second of
    them for some months, and the newest two expired.
    """
    from django.db import connection

    dialect, last = _DIALECTS[connection.vendor], count - 1

    def moved(amount: str, unit: str) -> str:
        return dialect["moved"].format(amount=amount, unit=unit)

    def where(condition: str, value: str) -> str:
        return f"CASE WHEN {condition} THEN {value} END"

    columns = {field.column: f"b.{field.column}" for field in key._meta.concrete_fields}
    columns |= {
        "public_id": dialect["digits"],
        "name": f"concat('key ', substr({dialect['digits']}, 11))",
        "created_at": moved(f"n.i - {last}", "minute"),
        "expires_at": where("n.i %% 100 = 0", moved(f"n.i - {last} + 7200", "minute")),
        "revoked_at": where("n.i %% 3 = 0", "b.created_at"),
        "is_pending": "(n.i %% 1000 = 1)",
        "last_used_at": moved("-(n.i %% 365)", "day"),
        "last_used_on": f"date({moved('-(n.i %% 365)', 'day')})",
    }
    if connection.vendor == "sqlite":
        columns["name"] = f"'key ' || substr({dialect['digits']}, 11)"
    if shape == ENDED:
        spread = count // LIVE_AMONG_ENDED
        ended = f"n.i %% {spread} <> 1"
        columns["revoked_at"] = where(f"n.i %% 2 = 0 AND {ended}", "b.created_at")
        columns["expires_at"] = where(ended, moved(f"n.i - {last} - 60", "minute"))
        columns["is_pending"] = f"(n.i %% {2 * spread} = 1)"
    if shape == OLD:
        fifth = count // 5
        columns["revoked_at"] = where(f"n.i < {fifth}", "b.created_at")
        ends = where(f"n.i >= {2 * fifth}", moved(f"n.i - {last} + {3 * fifth}", "minute"))
        past = moved(f"n.i - {last} - 60", "minute")
        columns["expires_at"] = f"CASE WHEN n.i >= {3 * fifth} THEN {past} ELSE {ends} END"
    for name, rows in owners.items():
        columns[f"{name}_id"] = f"{min(each.pk for each in rows)} + n.i %% {len(rows)}"
    del columns[key._meta.pk.column]
    table = key._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} "
            f"FROM {dialect['source'].format(last=last)}, {table} b WHERE b.id = %s",
            [key.pk],
        )


def analyze(*models: Any) -> None:
    """Have the database count what it plans by."""
    from django.db import connection

    analyze = {"mysql": "ANALYZE TABLE"}.get(connection.vendor, "ANALYZE")
    if not connection.in_atomic_block:  # as PostgreSQL does by itself, a minute later
        analyze = {"postgresql": "VACUUM ANALYZE"}.get(connection.vendor, analyze)
    # MariaDB would end the transaction of this connection, and what a test made would stay.
    by = connection.copy() if connection.vendor == "mysql" else connection
    with by.cursor() as cursor:
        for model in models:
            cursor.execute(f"{analyze} {model._meta.db_table}")
    if by is not connection:
        by.close()


def make(count: int, shape: str) -> None:
    from django.db import connection

    from apikeys.models import Membership, PersonalAccessToken, Project, ProjectKey
    from tests.factories import ProjectFactory, UserFactory, mint_key, mint_pat

    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA cache_size = -400000")  # KiB: its indexes fit
    number = OWNERS if shape == MANY else 1
    root = UserFactory(username="root", is_staff=True, is_superuser=True)
    type(root).objects.bulk_create(
        UserFactory.build(username=f"user-{n:04}") for n in range(number)
    )
    users = list(type(root).objects.filter(username__startswith="user-").order_by("pk"))
    Project.objects.bulk_create(ProjectFactory.build(slug=f"team-{n:04}") for n in range(number))
    projects = list(Project.objects.order_by("pk"))
    Membership.objects.create(project=projects[0], user=users[0], role="owner")
    # Who asks owns nothing else, so that the first of them is as good as any.
    fill(mint_pat(users[0]).key, count, shape=shape, user=users)
    fill(mint_key(projects[0]).key, count, shape=shape, project=projects, created_by=users)
    if shape in (ONE, MANY):
        for model in (PersonalAccessToken, ProjectKey):
            _rotate(model, count)
    analyze(PersonalAccessToken, ProjectKey, Membership, Project, type(root))


def _rotate(model: Any, count: int) -> None:
    from django.utils import timezone

    first = model.objects.order_by("pk").first().pk
    rotated = [model(pk=first + n, replaces_id=first + n - 1) for n in range(500, count, 500)]
    model.objects.bulk_update(rotated, ["replaces"], batch_size=500)
    now = timezone.now()
    former = model.objects.filter(pk__in=[first + n - 1 for n in range(500, count, 500)])
    former.update(rotated_at=now)
    ending = model.objects.filter(pk__in=[first + n - 1 for n in range(500, count, 5000)])
    ending.update(expires_at=now + timedelta(days=1), revoked_at=None)


def pages(slug: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Part of the site, path and query."""
    yield "settings", "/settings/keys/", {}
    yield "settings", "/settings/keys/", {"state": "ended"}
    yield "settings", f"/settings/keys/projects/{slug}/", {}
    yield "settings", f"/settings/keys/projects/{slug}/", {"state": "ended"}
    yield "settings", "/settings/keys/approvals/", {}
    for path in ("/api/tokens/", f"/api/projects/{slug}/keys/"):
        yield "api", path, {}
        for state in ("live", "pending", "expired", "revoked"):
            yield "api", path, {"state": state}
        yield "api", f"{path}audit/", {}
    yield "api", "/api/approvals/tokens/", {}
    yield "api", "/api/approvals/keys/", {}
    for name in ("personalaccesstoken", "projectkey"):
        path = f"/admin/apikeys/{name}/"
        yield "admin", path, {}
        yield "admin", path, {"p": "100"}
        yield "admin", path, {"o": "-8" if name == "personalaccesstoken" else "-9"}
        yield "admin", path, {"o": "7"}
        for state in ("live", "pending", "expired", "revoked", "rotated"):
            yield "admin", path, {"state": state}
        for expires in ("7", "30", "90", "past", "never"):
            yield "admin", path, {"expires": expires}
        for used in ("1", "30", "not-30", "not-90", "never"):
            yield "admin", path, {"used": used}
        yield "admin", path, {"state": "live", "expires": "30"}
        for term in ("key 0501", "0000000000000501", "user-00", "team-0000", "nothing at all"):
            yield "admin", path, {"q": term}


@contextmanager
def recording() -> Iterator[list[tuple[str, Any]]]:
    from django.db import connection

    made: list[tuple[str, Any]] = []

    def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        made.append((sql, params))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(record):
        yield made


def cost(statements: list[tuple[str, Any]], runs: int) -> tuple[float, float, str]:
    """Milliseconds of all statements and of the slowest one, and the slowest's text."""
    from django.db import connection

    each = []
    for sql, params in statements:
        if not sql.lstrip("( ").upper().startswith("SELECT"):
            continue
        times = []
        for _ in range(runs):
            with connection.cursor() as cursor:
                start = time.perf_counter()
                cursor.execute(sql, params)
                cursor.fetchall()
                times.append((time.perf_counter() - start) * 1000)
        each.append((min(times), sql))
    slowest = max(each)
    return sum(taken for taken, _ in each), *slowest


def server(client: Any, path: str, query: Any, runs: int) -> float:
    """Milliseconds of this process's CPU for the whole request, in its fastest run."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        client.get(path, query)
        times.append((time.process_time() - start) * 1000)
    return min(times)


def measure(runs: int, part: str = "") -> list[dict[str, Any]]:
    from django.contrib.auth import get_user_model
    from django.http import QueryDict
    from django.test import Client

    from apikeys.models import Project

    people = get_user_model()._default_manager
    user, root = people.get(username="user-0000"), people.get(username="root")
    slug = Project.objects.order_by("pk")[0].slug
    rows = []
    for where, path, query in pages(slug):
        if part not in ("", where):
            continue
        client = Client()
        client.force_login(root if where == "admin" else user)
        asked: dict[str, Any] = query
        for page in (1, 2, 3):
            with recording() as statements:
                response = client.get(path, asked)
            if response.status_code != 200:
                raise SystemExit(f"{path} {asked}: {response.status_code}")
            total, slowest, sql = cost(statements, runs)
            rows.append(
                {
                    "path": path,
                    "query": query | ({"page": page} if page > 1 else {}),
                    "queries": len(statements),
                    "ms": round(total, 1),
                    "slowest_ms": round(slowest, 1),
                    "slowest": sql,
                    "server_ms": round(server(client, path, asked, runs), 1),
                }
            )
            following = _next(where, response)
            if following is None:
                break
            asked = QueryDict(following.partition("?")[2]).dict()
    return rows


def _next(where: str, response: Any) -> str | None:
    if where == "api":
        following: str | None = response.json()["next"]
        return following
    if where == "settings" and "page" in (response.context or {}):
        return response.context["page"].next
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys of each kind")
    parser.add_argument("--shape", choices=[ONE, ENDED, OLD, MANY], default=MANY)
    parser.add_argument("--runs", type=int, default=5, help="of each statement")
    parser.add_argument("--part", choices=["settings", "api", "admin"], default="")
    parser.add_argument("--keep", action="store_true", help="keep the database for the next run")
    parser.add_argument("--sql", action="store_true", help="show what takes too long")
    arguments = parser.parse_args()
    with own_database("tests.settings", keep=arguments.keep):
        from django.conf import settings

        from apikeys.models import ProjectKey

        settings.ALLOWED_HOSTS = ["testserver"]
        if not ProjectKey.objects.exists():
            make(arguments.keys, arguments.shape)
        rows = measure(arguments.runs, arguments.part)
    about = vars(arguments) | {"database": os.environ.get("TEST_DATABASE", "sqlite")}
    if arguments.json:
        print(json.dumps(about | {"rows": rows}, indent=2))
        return
    print(
        f"{about['database']}, {about['keys']:,} keys of each kind, shape {about['shape']}; SQL of "
        f"a page, fastest of {about['runs']} runs of each statement"
    )
    print(f"{'':74} {'queries':>7} {'ms':>8} {'slowest':>8} {'server':>8}")
    for row in rows:
        asked = " ".join(f"{name}={value}" for name, value in row["query"].items())
        mark = " !" if row["ms"] > MOST else ""
        print(
            f"{row['path'] + ' ' + asked:74} {row['queries']:7} {row['ms']:8.1f} "
            f"{row['slowest_ms']:8.1f} {row['server_ms']:8.1f}{mark}"
        )
        if mark and arguments.sql:
            print(shorten(row["slowest"].replace("%s, ", ""), 2000))
    slow = [row for row in rows if row["ms"] > MOST]
    print(f"{len(rows)} pages, {len(slow)} above {MOST:.0f} ms")


if __name__ == "__main__":
    main()
