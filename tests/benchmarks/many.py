"""What it costs to end many rows at once: ``python -m tests.benchmarks.many``.

A user with ``--keys`` tokens is deactivated, and another one deleted; a chain of ``--keys`` rotated
keys is revoked, and a key that others were created with; an application with ``--grants`` grants is
deleted, and a report of 100 leaked keys arrives. Each tells its queries, those for a thousand rows,
its seconds, and the longest transaction: as long a lock may be held. The database is the one that
``TEST_DATABASE`` names.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

from tests.benchmarks.database import own_database

SCOPE = "payments:read"
MOST_LOCKED = 1.0  # seconds


class Costs:
    """The statements of a connection, and the longest transaction."""

    def __init__(self) -> None:
        self.queries, self.longest = 0, 0.0

    def execute(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.queries += 1
        return execute(sql, params, many, context)


@contextmanager
def counting() -> Iterator[Costs]:
    from django.db import connection

    costs, began = Costs(), 0.0
    set_autocommit = connection.set_autocommit

    def timed(autocommit: bool, *args: Any, **kwargs: Any) -> None:
        nonlocal began
        if not autocommit:
            began = time.perf_counter()
        set_autocommit(autocommit, *args, **kwargs)
        if autocommit:
            costs.longest = max(costs.longest, time.perf_counter() - began)

    connection.set_autocommit = timed  # type: ignore[method-assign]
    try:
        with connection.execute_wrapper(costs.execute):
            yield costs
    finally:
        del connection.set_autocommit


def tokens(user: Any, number: int, **fields: Any) -> list[Any]:
    from apikeys.models import PersonalAccessToken

    model = PersonalAccessToken
    name = user.get_username()
    keys = [model(user=user, name=f"{name} {n}", scope=SCOPE, **fields) for n in range(number)]
    model.objects.bulk_create(keys, batch_size=1000)
    return list(model.objects.filter(user=user).order_by("pk"))


def chain(user: Any, number: int) -> list[Any]:
    """Tokens of which each replaces the one before."""
    from django.utils import timezone

    from apikeys.models import PersonalAccessToken

    keys = tokens(user, number)
    for older, newer in pairwise(keys):
        older.rotated_at, newer.replaces = timezone.now(), older
    PersonalAccessToken.objects.bulk_update(keys, ["rotated_at", "replaces"], batch_size=200)
    return keys


def application(users: list[Any], number: int) -> Any:
    """An application with ``number`` consents, each with an access and a refresh token."""
    from django.utils import timezone
    from oauth2_provider.models import AccessToken, Application, RefreshToken

    from apikeys.oauth.models import Consent, TokenOrigin

    app = Application.objects.create(
        name="many", client_type="public", authorization_grant_type="authorization-code"
    )
    ends = timezone.now() + timedelta(hours=1)
    for start in range(0, number, 10_000):
        some = range(start, min(start + 10_000, number))
        whose = {n: users[n % len(users)] for n in some}
        bulk: dict[str, Any] = {"batch_size": 1000}
        Consent.objects.bulk_create(
            (Consent(user=whose[n], application=app, scope=SCOPE, is_given=True) for n in some),
            **bulk,
        )
        AccessToken.objects.bulk_create(
            (
                AccessToken(
                    user=whose[n],
                    application=app,
                    scope=SCOPE,
                    expires=ends,
                    token=f"access-{n}",
                    token_checksum=f"{n:064}",
                )
                for n in some
            ),
            **bulk,
        )
        count = len(some)
        consents = Consent.objects.order_by("-pk").values_list("pk", flat=True)[:count]
        access = list(AccessToken.objects.order_by("-pk").values_list("pk", "user_id")[:count])
        TokenOrigin.objects.bulk_create(
            (
                TokenOrigin(access_token_id=token, consent_id=consent)
                for (token, _user), consent in zip(access, consents, strict=True)
            ),
            **bulk,
        )
        RefreshToken.objects.bulk_create(
            (
                RefreshToken(
                    user_id=user,
                    application=app,
                    access_token_id=token,
                    token=f"refresh-{token}",
                    token_checksum=f"{token:064}",
                )
                for token, user in access
            ),
            **bulk,
        )
    return app


def cases(keys: int, grants: int, reports: int) -> Iterator[tuple[str, int, Callable[[], Any]]]:
    """Yield what is done, the number of rows, and the function that does it."""
    from apikeys import leaks, lifecycle
    from apikeys.oauth import authorizations
    from tests.factories import UserFactory, mint_pat

    def user(name: str) -> Any:
        return UserFactory(username=name, email=f"{name}@example.com")

    ada, bea, cid, dan = (user(name) for name in ("ada", "bea", "cid", "dan"))
    tokens(ada, keys)
    ada.is_active = False
    yield "deactivate a user with tokens", keys, ada.save
    tokens(bea, keys)
    yield "delete a user with tokens", keys, bea.delete
    rotated = chain(cid, keys)
    yield "revoke the last key of a chain", keys, lambda: lifecycle.revoke(rotated[-1])
    top = mint_pat(dan).key
    tokens(dan, keys, minted_with=top.public_id, lineage=top.public_id)
    yield "revoke a key that created keys", keys, lambda: lifecycle.revoke(top)
    texts = [mint_pat(user(f"leaky-{n}")).token for n in range(reports)]
    found = [(text, "") for text in texts]
    yield "a report of leaked keys", reports, lambda: leaks.report_all(found, source="anybody")
    app = application([user(f"user-{n}") for n in range(1000)], grants)
    yield "delete an application with grants", grants, lambda: authorizations.delete(app)


def measure(keys: int, grants: int, reports: int) -> list[dict[str, Any]]:
    rows = []
    for what, number, act in cases(keys, grants, reports):
        with counting() as costs:
            start = time.perf_counter()
            act()
            taken = time.perf_counter() - start
        rows.append(
            {
                "what": what,
                "rows": number,
                "queries": costs.queries,
                "queries_per_thousand": round(costs.queries * 1000 / max(number, 1000)),
                "seconds": round(taken, 2),
                "longest_transaction": round(costs.longest, 2),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keys", type=int, default=1_000)
    parser.add_argument("--grants", type=int, default=100_000)
    parser.add_argument("--reports", type=int, default=100)
    arguments = parser.parse_args()
    with own_database("tests.settings"):
        from django.conf import settings

        settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
        rows = measure(arguments.keys, arguments.grants, arguments.reports)
    database = os.environ.get("TEST_DATABASE", "sqlite")
    if arguments.json:
        print(json.dumps({"database": database, "rows": rows}, indent=2))
        return
    print(f"{database:36} {'rows':>8} {'queries':>8} {'a 1,000':>8} {'seconds':>8} {'longest':>8}")
    for row in rows:
        mark = " !" if row["longest_transaction"] > MOST_LOCKED else ""
        print(
            f"{row['what']:36} {row['rows']:8,} {row['queries']:8,} "
            f"{row['queries_per_thousand']:8} {row['seconds']:8.2f} "
            f"{row['longest_transaction']:8.2f}{mark}"
        )


if __name__ == "__main__":
    main()
