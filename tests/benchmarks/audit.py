"""Measure lists of audit events: ``python -m tests.benchmarks.audit``.

The activity of the settings pages, the JSON API, Django's admin and ``manage.py apikeys audit``,
with their filters, searches and next pages, against ``--events`` events in ``--database``. A tenth
belongs to one user and a tenth to one project. 20,000 more belong to a user whose events are all
old, and the others to 100,000 owners. Each list is asked for once. Its statements are then run
again, to their last row: the table shows the sum of the fastest run of each, in milliseconds, and
``--sql`` the slowest statement of each list that takes too long. ``--keep`` keeps the database,
filled, for the next run.
"""

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from datetime import timedelta
from textwrap import shorten
from typing import Any

from tests.benchmarks.database import own_database
from tests.benchmarks.listing import MOST, analyze, cost, recording

OLD = 20_000  # events of the user whose events are all old
YEARS = 3  # from the oldest event to the newest

#: Of an insert that makes many events: what differs, by SQL of each database.
_DIALECTS = {
    "sqlite": {
        "source": "(WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n "
        "WHERE i < {last}) SELECT i FROM n) AS n",
        "div": "{a} / {b}",
        "digits": "printf('%%016d', {n})",
        "text": "CAST({n} AS TEXT)",
        "at": "strftime('%%Y-%%m-%%d %%H:%%M:%%f000', %s, ({seconds}) || ' seconds')",
    },
    "postgresql": {
        "source": "generate_series(0::bigint, {last}) AS n(i)",
        "div": "({a} / {b})",
        "digits": "lpad(({n})::text, 16, '0')",
        "text": "({n})::text",
        "at": "%s::timestamptz + ({seconds}) * interval '1 second'",
    },
    "mysql": {
        "source": "(SELECT CAST(seq AS SIGNED) AS i FROM seq_0_to_{last}) AS n",
        "div": "({a} DIV {b})",
        "digits": "lpad({n}, 16, '0')",
        "text": "CAST({n} AS CHAR)",
        "at": "CAST(%s AS DATETIME(6)) + INTERVAL ({seconds}) SECOND",
    },
}

_STEP, _PRIME = 6_364_136_223, 9_999_999_999_999_937

#: The events, and how many of 65,537 there are of each. One in 65,537 is a leak.
_SHARES = {
    "minted": 20_000,
    "edited": 12_000,
    "rotated": 8_000,
    "revoked": 8_000,
    "first_used": 9_000,
    "new_network": 4_000,
    "notified": 3_000,
    "expired": 1_536,
    "leaked": 1,
}


def fill(count: int, user: Any, project: Any, old: Any) -> None:
    """Make ``count`` events: a tenth of ``user``, a tenth of ``project``, 20,000 of ``old``."""
    from django.db import connection
    from django.utils import timezone

    from apikeys.models import AuditEvent

    vendor = connection.vendor
    dialect, last = _DIALECTS[vendor], count - 1

    def div(a: str, b: int) -> str:
        return dialect["div"].format(a=a, b=b)

    # Uniform, and independent of the owner.
    mixed = "((n.i * 48271) %% 65537)"
    event, reached = "CASE", 0
    for name, share in _SHARES.items():
        reached += share
        event += f" WHEN {mixed} < {reached} THEN '{name}'"
    event += " ELSE 'approved' END"
    other = "((n.i * 7919) %% 99991)"
    is_old = f"(n.i < {min(10 * OLD, count // 10)} AND n.i %% 10 = 2)"

    def by_owner(mine: str, projects: str, olds: str, others: str) -> str:
        return (
            f"CASE WHEN n.i %% 10 = 0 THEN {mine} WHEN n.i %% 10 = 1 THEN {projects} "
            f"WHEN {is_old} THEN {olds} ELSE {others} END"
        )

    text = dialect["text"].format
    pk = by_owner(f"'{user.pk}'", f"'{project.pk}'", f"'{old.pk}'", text(n=f"1000 + {other}"))
    kind = by_owner(
        "CASE WHEN n.i %% 100 = 0 THEN 'client' ELSE 'personalaccesstoken' END",
        "'projectkey'",
        "'personalaccesstoken'",
        f"CASE WHEN {other} %% 2 = 0 THEN 'personalaccesstoken' ELSE 'projectkey' END",
    )
    by_itself = by_owner("'big'", "'ada'", "'old'", pk)
    seconds = YEARS * 365 * 86_400
    # One in 100 happened up to a day before it was written.
    at = f"{div(f'n.i * {seconds}', count)} - {seconds} - CASE WHEN n.i %% 100 = 7 THEN 80000 "
    at += "ELSE 0 END"
    columns = {
        "event": event,
        "at": dialect["at"].format(seconds=at),
        "kind": kind,
        # Five events of each key, in a row. The IDs are spread as if they were random.
        "public_id": dialect["digits"].format(n=f"(({div('n.i', 5)}) * {_STEP}) %% {_PRIME}"),
        "name": by_owner(
            "'laptop'",
            "'server'",
            "'desk'",
            "CASE WHEN n.i %% 3 = 0 THEN 'laptop' ELSE 'continuous integration' END",
        ),
        "owner": by_owner("'big'", "'big-team'", "'old'", f"{pk}"),
        "owner_pk": pk,
        "by": f"CASE WHEN n.i %% 50 = 1 THEN 'grace' WHEN {mixed} = 5 THEN 'rare' "
        f"ELSE {by_itself} END",
        "by_pk": pk,
        "using": "''",
        "instance": "''",
        "authorized_by": "''",
        "ip": "'203.0.113.7'",
        "changes": """'{"reason": "It was lost on a train.", "scopes": ["payments:read"]}'""",
    }
    quote = connection.ops.quote_name
    names = ", ".join(map(quote, columns))
    if vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA cache_size = -2000000")  # KiB
    indexes = [] if connection.in_atomic_block else AuditEvent._meta.indexes  # in a test
    for index in indexes:
        with connection.schema_editor(atomic=False) as editor:
            editor.remove_index(AuditEvent, index)
    with connection.cursor() as cursor:
        if vendor == "mysql" and indexes:  # in a test, it would count no row before a commit
            cursor.execute("SET SESSION unique_checks = 0, foreign_key_checks = 0")
        cursor.execute(
            f"INSERT INTO {quote(AuditEvent._meta.db_table)} ({names}) "
            f"SELECT {', '.join(columns.values())} FROM {dialect['source'].format(last=last)}",
            [timezone.now()],
        )
    for index in indexes:
        with connection.schema_editor(atomic=False) as editor:
            editor.add_index(AuditEvent, index)
    analyze(AuditEvent)


def an_id(number: int) -> str:
    """Return the ID of a key."""
    return f"{number * 1000 * _STEP % _PRIME:016}"


def make(count: int) -> None:
    from apikeys.models import AuditEvent, Membership
    from tests.factories import ProjectFactory, UserFactory

    UserFactory(username="root", is_staff=True, is_superuser=True)
    user, old, ada = (UserFactory(username=name) for name in ("big", "old", "ada"))
    project, quiet = ProjectFactory(slug="big-team"), ProjectFactory(slug="quiet-team")
    for each in (project, quiet):
        Membership.objects.create(project=each, user=ada, role="owner")
    began = time.perf_counter()
    fill(count, user, project, old)
    size = AuditEvent.objects.order_by("-pk").first().pk
    print(f"{size:,} events in {time.perf_counter() - began:.0f} s", flush=True)


def lists() -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Yield who asks, the part of the site, the path and the query."""
    from django.utils import timezone

    from apikeys.models import AuditEvent

    now = timezone.now()
    month, years = (
        (now - timedelta(days=days)).date().isoformat() for days in (30, (YEARS - 1) * 365)
    )
    web: list[dict[str, str]] = [{}]
    web += [{"event": event} for event in ("minted", "leaked", "approved", "exchanged")]
    web += [{"q": term} for term in ("laptop", "nothing at all", an_id(0), an_id(0)[:9])]
    web += [{"by": by} for by in ("big", "Grace", "rare", "nobody")]
    web += [{"since": month}, {"until": years}, {"since": years, "until": years}]
    web += [{"event": "leaked", "since": month}, {"event": "exchanged", "until": years}]
    web += [{"event": "minted", "by": "nobody"}, {"event": "leaked", "by": "rare", "q": "laptop"}]
    for who, path in (
        ("big", "/settings/keys/activity/"),
        ("old", "/settings/keys/activity/"),
        ("ada", "/settings/keys/projects/big-team/activity/"),
        ("ada", "/settings/keys/projects/quiet-team/activity/"),
    ):
        kind = "projectkey" if "projects" in path else "personalaccesstoken"
        of_kind = AuditEvent.objects.filter(kind=kind).order_by("-pk")
        newest = of_kind.filter(owner={"ada": "big-team"}.get(who, who)).first()
        key = {"key": newest.public_id if newest else "0" * 16}
        for query in (*web, key, key | {"event": "leaked"}):
            yield who, "settings", path, query
    for who, path in (
        ("big", "/api/tokens/audit/"),
        ("old", "/api/tokens/audit/"),
        ("ada", "/api/projects/big-team/keys/audit/"),
    ):
        yield who, "api", path, {}
        for event in ("minted", "leaked", "approved", "exchanged"):
            yield who, "api", path, {"event": event}
        yield who, "api", path, {"key": an_id(2)}
        yield who, "api", path, {"key": an_id(2), "event": "leaked"}
    path = "/admin/apikeys/auditevent/"
    yield "root", "admin", path, {}
    yield "root", "admin", path, {"p": "199"}
    for event in ("minted", "leaked", "exchanged"):
        yield "root", "admin", path, {"event": event}
        if event == "minted":
            yield "root", "admin", path, {"event": event, "p": "100"}
        for term in (an_id(2), an_id(2)[:4], "nothing at all"):
            yield "root", "admin", path, {"event": event, "q": term}
    for term in (an_id(2), an_id(2)[:4], "nothing at all"):
        yield "root", "admin", path, {"q": term}


def commands() -> Iterator[list[str]]:
    scopes = ([], ["--user", "big"], ["--user", "old"], ["--project", "big-team"])
    events = ([], ["--event", "minted"], ["--event", "leaked"], ["--event", "exchanged"])
    times = ([], ["--since", "30d"], ["--until", "2y"], ["--since", "730d", "--until", "729d"])
    for scope in scopes:
        for event in events:
            for time_ in times:
                yield [*scope, *event, *time_]
    yield ["--key", an_id(2)]
    yield ["--key", an_id(2), "--event", "leaked", "--until", "2y"]


def _row(part: str, asked: str, made: list[tuple[str, Any]], runs: int) -> dict[str, Any]:
    total, slowest, sql = cost(made, runs)
    return {
        "part": part,
        "list": asked,
        "queries": len(made),
        "ms": round(total, 1),
        "slowest_ms": round(slowest, 1),
        "slowest": sql,
    }


def measure(runs: int, part: str = "") -> Iterator[dict[str, Any]]:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.http import QueryDict
    from django.test import Client

    people = get_user_model()._default_manager
    for who, where, path, query in lists():
        if part not in ("", where):
            continue
        client = Client()
        client.force_login(people.get(username=who))
        asked: dict[str, Any] = query
        for page in (1, 2, 3):
            with recording() as statements:
                response = client.get(path, asked)
            if response.status_code != 200:
                raise SystemExit(f"{path} {asked}: {response.status_code}")
            words = " ".join(f"{name}={value}" for name, value in query.items())
            number = f" page {page}" if page > 1 else ""
            yield _row(where, f"{path} {words}{number} ({who})", statements, runs)
            following = _next(where, response)
            if following is None:
                break
            asked = QueryDict(following.partition("?")[2]).dict()
    if part in ("", "command"):
        for options in commands():
            with recording() as statements, redirect_stdout(io.StringIO()):
                call_command("apikeys", "audit", *options)
            yield _row("command", f"apikeys audit {' '.join(options)}", statements, runs)


def _next(where: str, response: Any) -> str | None:
    if where == "api":
        following: str | None = response.json()["next"]
        return following
    if where == "settings":
        return response.context["page"].next
    return None


def main(make: Callable[[int], None] = make) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "mariadb"], default="sqlite")
    parser.add_argument("--runs", type=int, default=3, help="of each statement")
    parser.add_argument("--part", choices=["settings", "api", "admin", "command"], default="")
    parser.add_argument("--keep", action="store_true", help="keep the database for the next run")
    parser.add_argument("--sql", action="store_true", help="show what takes too long")
    arguments = parser.parse_args()
    os.environ["TEST_DATABASE"] = arguments.database
    rows = []
    with own_database("tests.settings", keep=arguments.keep):
        from django.test.utils import setup_test_environment

        from apikeys.models import AuditEvent

        setup_test_environment()  # so that responses have their context
        if not AuditEvent.objects.exists():
            make(arguments.events)
        for row in measure(arguments.runs, arguments.part):
            rows.append(row)
            if not arguments.json:
                mark = " !" if row["ms"] > MOST else ""
                print(f"{row['list']:90} {row['queries']:3} {row['ms']:9.1f} "
                      f"{row['slowest_ms']:9.1f}{mark}", flush=True)  # fmt: skip
                if mark and arguments.sql:
                    print(shorten(row["slowest"], 1500))
    slow = [row for row in rows if row["ms"] > MOST]
    if arguments.json:
        print(json.dumps(vars(arguments) | {"rows": rows}, indent=2))
        return
    worst = max(rows, key=lambda row: row["ms"])
    print(
        f"{arguments.database}, {arguments.events:,} events: {len(rows)} lists, {len(slow)} above "
        f"{MOST:.0f} ms; slowest {worst['ms']} ms: {worst['list']}"
    )


if __name__ == "__main__":
    main()
