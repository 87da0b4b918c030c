"""Two worker processes edit, rotate and revoke the same keys, with 50 concurrent requests.

The tests need PostgreSQL or MariaDB, because SQLite has only one writer at a time.
"""

import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter

import pytest
from django.db import connection

from apikeys.models import PersonalAccessToken, ProjectKey
from tests.documents import ROOT
from tests.factories import mint_key, mint_pat

WORKERS, THREADS, KEYS, ROUNDS = 2, 25, 6, 2
SCOPES = ["keys:write", "payments:read", "payments:write", "reports:read"]

# A worker process of the site. Each of its threads sends requests through the whole stack.
WORKER = """
import sys, threading, json
import django
from django.conf import settings
django.setup()
settings.DATABASES["default"]["NAME"] = sys.argv[1]
from django.db import connections
connections["default"].settings_dict["NAME"] = sys.argv[1]
from django.test import Client
from django.test.utils import setup_test_environment
setup_test_environment()
answers, parts = [], json.load(sys.stdin)

def work(part):
    client = Client(raise_request_exception=False)
    try:
        for token, method, path, body in part:
            response = client.generic(
                method, path, json.dumps(body), "application/json",
                headers={"Authorization": "Bearer " + token},
            )
            told = response.json() if response.content else {}
            answers.append([token.split("_")[2], method, path, response.status_code, told])
    finally:
        connections.close_all()

threads = [threading.Thread(target=work, args=[part]) for part in parts]
for thread in threads: thread.start()
for thread in threads: thread.join()
json.dump(answers, sys.stdout)
"""


def run_workers(parts):
    """Run the requests in two processes at once, and return all responses."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PYTHONPATH": str(ROOT),
    }
    answers, failed = [], []

    def run(some):
        done = subprocess.run(
            [sys.executable, "-c", WORKER, connection.settings_dict["NAME"]],
            input=json.dumps(some),
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            failed.append(done.stderr)
        else:
            answers.extend(json.loads(done.stdout))

    threads = [threading.Thread(target=run, args=[parts[n::WORKERS]]) for n in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed[0]
    return answers


@pytest.mark.django_db(transaction=True)
def test_concurrent_edits_rotations_and_revocations_lose_nothing(transactional_db, ada, engine):
    if connection.vendor == "sqlite":
        pytest.skip("Its rows do not lock. Say TEST_DATABASE=postgresql, or mariadb.")
    # A strong credential that can do everything, and a weak one that must not widen anything.
    strong = mint_pat(ada, scopes=SCOPES)
    weak = mint_pat(ada, scopes=["keys:write", "payments:read"])
    tokens = [mint_pat(ada, projects=[engine]).key for _ in range(KEYS)]
    keys = [mint_key(engine).key for _ in range(KEYS)]
    paths = [f"/api/tokens/{key.public_id}/" for key in tokens]
    paths += [f"/api/projects/{engine.slug}/keys/{key.public_id}/" for key in keys]
    chance = random.Random(7)
    parts = []
    for number in range(WORKERS * THREADS):
        part = []
        for _ in range(ROUNDS):
            path, credential = chance.choice(paths), chance.choice([strong, weak])
            body = {"name": f"n{number}", "scopes": chance.sample(SCOPES[1:], 2)}
            part.append(
                chance.choice(
                    [
                        [credential.token, "PATCH", path, body],
                        [credential.token, "POST", f"{path}rotate/", {"overlap_seconds": 0}],
                        [strong.token, "PATCH", path, {"name": f"n{number}"}],
                        *([[strong.token, "DELETE", path, {}]] if chance.random() < 0.3 else []),
                    ]
                )
            )
        parts.append(part)

    answers = run_workers(parts)

    assert len(answers) == WORKERS * THREADS * ROUNDS
    statuses = Counter((method, status) for _, method, _path, status, _told in answers)
    assert {status for _method, status in statuses} <= {200, 201, 204, 403, 409}, statuses
    for model, start in ((PersonalAccessToken, tokens), (ProjectKey, keys)):
        check_invariants(model, start, answers)
    # Each response with status 201 has its own new key.
    made = [told["id"] for *_, status, told in answers if status == 201]
    rows = PersonalAccessToken.objects.exclude(replaces=None).count()
    rows += ProjectKey.objects.exclude(replaces=None).count()
    assert len(made) == len(set(made)) == rows
    # The weak credential never got the secret of a stronger key.
    for who, _, _, status, told in answers:
        if status == 201 and who == weak.key.public_id:
            assert set(told["scopes"]) <= {"keys:write", "payments:read"}


def check_invariants(model, start, answers):
    revoked = {p.split("/")[-2] for _, method, p, status, _ in answers if status == 204}
    for key in start:
        key.refresh_from_db()
        (path,) = {p for _, _, p, _, _ in answers if p.endswith(f"/{key.public_id}/")} or {""}
        rotations = [
            told for _, _, p, status, told in answers if status == 201 and p == f"{path}rotate/"
        ]
        successors = model.objects.filter(replaces=key)
        # Each successful rotation created one successor at most.
        assert [s.public_id for s in successors] == [told["id"] for told in rotations]
        assert (key.rotated_at is not None) == bool(rotations)
        # A revoked key stays revoked.
        assert (key.public_id in revoked) == (key.revoked_at is not None)
        # The chain is linear, and the successor has the limits of the key at the rotation.
        for successor in successors:
            assert [k.public_id for k in key.chain()] == [key.public_id, successor.public_id]
            assert (successor.name, successor.scope) == (key.name, key.scope)
        # The last state equals one complete request, not a mix of two.
        asked = [
            (told["name"], tuple(told["scopes"]))
            for _, method, p, status, told in answers
            if (method, p, status) == ("PATCH", path, 200)
        ]
        assert (key.name, key.scopes) in [
            *asked,
            ("ci", ("payments:read",)),
            ("server", ("payments:read",)),
        ]


@pytest.mark.django_db(transaction=True)
def test_keys_created_while_their_credential_is_revoked_are_revoked(transactional_db, ada, engine):
    if connection.vendor == "sqlite":
        pytest.skip("Its rows do not lock. Say TEST_DATABASE=postgresql, or mariadb.")
    parent, other = mint_pat(ada, scopes=SCOPES), mint_pat(ada, scopes=["keys:write"])
    body = {"name": "child", "scopes": ["payments:read"]}
    mint = [parent.token, "POST", "/api/tokens/", body]
    mint_server = [parent.token, "POST", f"/api/projects/{engine.slug}/keys/", body]
    revoke = [other.token, "DELETE", f"/api/tokens/{parent.key.public_id}/", {}]
    parts = [[mint, mint_server, mint] for _ in range(24)] + [[mint, revoke]] * 2

    answers = run_workers(parts)

    statuses = Counter(status for *_, status, _told in answers)
    assert set(statuses) <= {201, 204, 401, 409}, statuses
    assert statuses[201]
    for model in (PersonalAccessToken, ProjectKey):
        made = model.objects.filter(minted_with=parent.key.public_id)
        assert not made.filter(revoked_at=None).exists()
