"""The commands in two and in four processes at once: the result is that of one."""

import json
import os
import secrets
import subprocess
import sys
from datetime import date, timedelta

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from apikeys.api.idempotency import RETENTION
from apikeys.gateway.models import ResourceBinding
from apikeys.models import (
    AuditEvent,
    IdempotentRequest,
    LegacyKey,
    PersonalAccessToken,
    PersonalAccessTokenUsage,
    ProjectKey,
    UsedNonce,
)
from apikeys.signatures import nonces
from tests.documents import ROOT
from tests.factories import MembershipFactory, mint_key, mint_pat

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]


@pytest.fixture(params=[2, 4])
def at_once(request, tmp_path):
    """Run a command in several processes; returns what each printed to standard output."""

    def run(*command, environment=None, fails=0):
        name = str(connection.settings_dict["NAME"])
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.run_command", *command],
                cwd=ROOT,
                env=os.environ | {"SERVER_DATABASE": name} | (environment or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(request.param)
        ]
        for each in processes:
            assert each.stdout.readline() == "ready\n", each.stderr.read()
        for each in processes:
            each.stdin.write("\n")
            each.stdin.flush()
        printed, errors = zip(*(each.communicate(timeout=120) for each in processes), strict=True)
        codes = [each.returncode for each in processes]
        assert sum(code != 0 for code in codes) == fails, errors
        return printed

    return run


def test_prune_keeps_every_count(at_once):
    keys = [mint_pat().key for _ in range(200)]
    first = (timezone.now() - timedelta(days=200)).date().replace(day=1)
    days = [first + timedelta(days=n) for n in range(59)]
    PersonalAccessTokenUsage.objects.bulk_create(
        [PersonalAccessTokenUsage(key=key, day=day, count=3) for key in keys for day in days]
    )
    old = [date(2001, 2, day) for day in range(1, 29)]
    PersonalAccessTokenUsage.objects.bulk_create(
        [PersonalAccessTokenUsage(key=key, day=day, count=3) for key in keys for day in old]
    )

    printed = at_once("apikeys", "prune", "--json")

    totals = PersonalAccessTokenUsage.objects.values_list("key").annotate(Sum("count"))
    assert dict(totals) == {key.pk: 3 * len(days) for key in keys}
    left = PersonalAccessTokenUsage.objects.count()
    deleted = sum(json.loads(text)["deleted"] for text in printed)
    assert deleted == len(keys) * len(days + old) - left


def test_prune_deletes_each_nonce_once(at_once):
    over = timezone.now() - nonces.MARGIN - timedelta(hours=1)
    rows = [UsedNonce(digest=f"{n:064}", ends_at=over) for n in range(5000)]
    UsedNonce.objects.bulk_create(rows)
    UsedNonce.objects.create(digest="a" * 64, ends_at=timezone.now())

    printed = at_once("apikeys", "prune", "--json")

    assert UsedNonce.objects.get().digest == "a" * 64
    assert sum(json.loads(text)["deleted"] for text in printed) == 5000


def test_notify_mails_each_owner_once(at_once, tmp_path):
    soon, past = timezone.now() + timedelta(days=3), timezone.now() - timedelta(days=1)
    for number in range(30):
        owner = MembershipFactory(user__email=f"user{number}@example.com", role="owner").user
        token = mint_pat(owner, expires_at=soon).key
        over = mint_pat(owner).key
        PersonalAccessToken.objects.filter(pk=token.pk).update(
            created_at=timezone.now() - timedelta(days=60)
        )
        PersonalAccessToken.objects.filter(pk=over.pk).update(expires_at=past)

    printed = at_once("apikeys", "notify", "--json", environment={"SERVER_MAIL": str(tmp_path)})

    mails = [file.read_text() for file in tmp_path.iterdir()]
    sent = [line for mail in mails for line in mail.splitlines() if line.startswith("To: ")]
    assert len(sent) == len(set(sent)) == 30
    done = [json.loads(text) for text in printed]
    assert sum(each["notified"] for each in done) == 30
    assert sum(each["expired"] for each in done) == 30
    assert AuditEvent.objects.filter(event="expired").count() == 30


def test_an_import_takes_each_key_once(at_once, tmp_path):
    MembershipFactory(user__username="ada", role="owner")
    lines = [f"{secrets.token_urlsafe(32)},ada,payments:read" for _ in range(1500)]
    file = tmp_path / "keys.csv"
    file.write_text("\n".join(["key,user,scopes", *lines]))

    printed = at_once("apikeys", "import", "--from", "csv", str(file), "--json")

    assert LegacyKey.objects.count() == PersonalAccessToken.objects.count() == 1500
    assert AuditEvent.objects.filter(event="imported").count() == 1500
    assert sum(json.loads(text)["imported"] for text in printed) == 1500


def test_an_import_of_bindings_stores_each_once(at_once, tmp_path):
    MembershipFactory(user__username="ada", role="owner")
    lines = [f"ada,,subscriber_id,{n}" for n in range(3000)]
    file = tmp_path / "bindings.csv"
    file.write_text("\n".join(["user,project,kind,identifier", *lines]))

    printed = at_once("apikeys_bindings", "import", str(file), "--json")

    assert ResourceBinding.objects.count() == 3000
    made = [json.loads(text)["created"] for text in printed]
    assert sum(made) == 3000


def test_rotate_makes_one_successor(at_once, request):
    key = mint_key().key
    processes = request.node.callspec.params["at_once"]

    printed = at_once("apikeys", "rotate", key.public_id, "--json", fails=processes - 1)

    assert ProjectKey.objects.filter(replaces=key).count() == 1
    answers = [json.loads(text) for text in printed]
    assert sum("token" in each for each in answers) == 1
    assert sum(each.get("code") == "already_rotated" for each in answers) == processes - 1


def test_revoke_is_recorded_once(at_once):
    key = mint_pat().key

    at_once("apikeys", "revoke", key.public_id, "--reason", "Old.", "--json")

    assert AuditEvent.objects.filter(event="revoked", public_id=key.public_id).count() == 1


def test_old_idempotent_requests_are_deleted_by_whoever_comes_first(at_once):
    past = timezone.now() - 2 * RETENTION
    IdempotentRequest.objects.bulk_create(
        [IdempotentRequest(digest=f"{n:064}", created_at=past) for n in range(50)]
    )
    at_once("shell", "--no-imports", "-c", "from apikeys.api.idempotency import _prune; _prune()")
    assert not IdempotentRequest.objects.exists()
