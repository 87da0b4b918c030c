"""What authenticating a request costs: ``python -m tests.benchmarks.auth [--json]``.

One trivial DRF view in one process, the authentication swapped. Rounds are interleaved, so
that a busy machine is busy for all; the figures are medians, in microseconds over the floor
(the same view without authentication), and ratios to DRF's TokenAuthentication. The database
is the one that ``TEST_DATABASE`` names.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import time

import django
from django.test.runner import DiscoverRunner

ROUNDS = 41
REQUESTS = 100  # in a round, per contender


def contenders():
    from datetime import timedelta

    from django.contrib.auth import get_user_model
    from django.utils import timezone
    from oauth2_provider.contrib.rest_framework import OAuth2Authentication
    from oauth2_provider.models import AccessToken, Application
    from rest_framework.authentication import TokenAuthentication
    from rest_framework.authtoken.models import Token
    from rest_framework.permissions import AllowAny, IsAuthenticated
    from rest_framework.response import Response
    from rest_framework.views import APIView

    from apikeys import lifecycle
    from apikeys.drf import BearerAuthentication, HasScope
    from apikeys.models import Project

    class Trivial(APIView):
        required_scopes = ["payments:read"]

        def get(self, request):
            return Response({})

    def view(authentication, permission):
        return Trivial.as_view(
            authentication_classes=authentication, permission_classes=[permission]
        )

    ours = view([BearerAuthentication], HasScope)
    user = get_user_model().objects.create(username="somebody")
    project = Project.objects.create(slug="some", name="Some")
    pat = lifecycle.mint(user=user, name="pat", scopes=["payments:read"])
    key = lifecycle.mint(project=project, name="key", scopes=["payments:read"])
    other = lifecycle.mint(user=user, name="other", scopes=["payments:read"])
    unknown = other.token
    other.key.delete()
    dead = lifecycle.mint(user=user, name="dead", scopes=["payments:read"])
    dead.key.expires_at = timezone.now() - timedelta(days=1)
    dead.key.save()
    wrong = _with_secret_of(pat.token, other.token)
    app = Application.objects.create(
        name="app",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_PASSWORD,
    )
    AccessToken.objects.create(
        user=user,
        application=app,
        token="an-access-token",
        expires=timezone.now() + timedelta(days=1),
        scope="payments:read",
    )
    plain = Token.objects.create(user=user).key
    return {
        "none (the floor)": (view([], AllowAny), None, 200),
        "DRF TokenAuthentication": (
            view([TokenAuthentication], IsAuthenticated),
            f"Token {plain}",
            200,
        ),
        "DOT OAuth2Authentication": (
            view([OAuth2Authentication], IsAuthenticated),
            "Bearer an-access-token",
            200,
        ),
        "personal access token": (ours, f"Bearer {pat.token}", 200),
        "project key": (ours, f"Bearer {key.token}", 200),
        "OAuth token": (ours, "Bearer an-access-token", 200),
        "malformed key": (ours, f"Bearer {pat.token[:-1]}", 401),
        "unknown id": (ours, f"Bearer {unknown}", 401),
        "wrong secret": (ours, f"Bearer {wrong}", 401),
        "expired key": (ours, f"Bearer {dead.token}", 401),
    }


def _with_secret_of(text, other):
    from apikeys import token

    parsed, donor = token.parse(text, "acme"), token.parse(other, "acme")
    return token.compose("acme", parsed.kind, parsed.public_id, donor.secret)


def measure():
    from django.db import connection
    from django.test import RequestFactory
    from django.test.utils import CaptureQueriesContext

    factory = RequestFactory()
    times, queries = {}, {}
    entries = contenders()

    def request_of(header):
        return factory.get("/", headers={"Authorization": header} if header else {})

    for name, (view, header, status) in entries.items():
        view(request_of(header))  # warms what is compiled once
        with CaptureQueriesContext(connection) as captured:
            response = view(request_of(header))
        if response.status_code != status:
            raise SystemExit(f"{name}: expected {status}, got {response.status_code}")
        queries[name] = len(captured)
        times[name] = []
    gc.disable()
    for _ in range(ROUNDS):
        for name, (view, header, _status) in entries.items():
            requests = [request_of(header) for _ in range(REQUESTS)]
            start = time.perf_counter()
            for request in requests:
                view(request)
            times[name].append((time.perf_counter() - start) / REQUESTS * 1e6)
        gc.collect()
    medians = {name: statistics.median(values) for name, values in times.items()}
    floor = medians["none (the floor)"]
    reference = medians["DRF TokenAuthentication"] - floor
    return [
        {
            "name": name,
            "microseconds": round(median, 1),
            "over_floor": round(median - floor, 1),
            "ratio": round((median - floor) / reference, 2),
            "queries": queries[name],
        }
        for name, median in medians.items()
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.benchmarks.settings")
    django.setup()
    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    try:
        rows = measure()
    finally:
        runner.teardown_databases(databases)
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    import rest_framework

    print(
        f"Python {platform.python_version()}, Django {django.__version__}, "
        f"DRF {rest_framework.VERSION}, {os.environ.get('TEST_DATABASE', 'sqlite')}; "
        f"medians of {ROUNDS} rounds of {REQUESTS} requests"
    )
    print(f"{'':26} {'us':>8} {'over floor':>11} {'ratio':>6} {'queries':>8}")
    for row in rows:
        print(
            f"{row['name']:26} {row['microseconds']:8.1f} {row['over_floor']:11.1f} "
            f"{row['ratio']:6.2f} {row['queries']:8}"
        )


if __name__ == "__main__":
    main()
