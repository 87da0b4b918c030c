"""What ``tests.test_own_user`` runs in a process whose settings swap the user model."""

import io

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from apikeys import leaks, lifecycle
from apikeys.conf import app_settings
from apikeys.lifecycle import LifecycleError
from apikeys.models import Membership, Project
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import bearer
from tests.own_user.people.models import Person

pytestmark = pytest.mark.django_db

SCOPES = ["payments:read", "keys:write"]


@pytest.fixture
def ada():
    return Person.objects.create(handle="ada", last_login=timezone.now())


@pytest.fixture
def engine(ada):
    engine = Project.objects.create(slug="engine", name="Engine")
    Membership.objects.create(user=ada, project=engine, role="owner")
    left = Person.objects.create(handle="left", left=True)
    Membership.objects.create(user=left, project=engine, role="owner")
    return engine


def test_the_managers_of_keys_are_those_who_are_active(ada, engine):
    assert list(app_settings.POLICY.key_managers(engine)) == [ada]


def test_somebody_who_left_is_refused(ada, engine):
    minted = lifecycle.mint(user=ada, name="x", scopes=SCOPES)
    assert verify(minted.token).user == ada
    ada.left = True
    ada.save()
    with pytest.raises(Refused, match="inactive_user"):
        verify(minted.token)
    with pytest.raises(LifecycleError) as error:
        lifecycle.mint(user=ada, name="y", scopes=SCOPES)
    assert error.value.code == "inactive_user"


def test_pages_and_api_answer(ada, engine):
    client = Client()
    client.force_login(ada, backend="django.contrib.auth.backends.ModelBackend")
    token = lifecycle.mint(user=ada, name="x", scopes=SCOPES)
    key = lifecycle.mint(project=engine, name="y", scopes=SCOPES, by=ada)
    pages = ["", "new/", "approvals/", "activity/", "projects/engine/"]
    for minted, under in ((token, ""), (key, "projects/engine/")):
        of_key = f"{under}{minted.key.public_id}/"
        pages += [of_key, f"{of_key}edit/", f"{of_key}rotate/", f"{of_key}revoke/"]
    for page in pages:
        assert client.get(f"/settings/keys/{page}").status_code in (200, 302), page
    for url in ("token/", "tokens/", "approvals/tokens/", "projects/engine/keys/", "approvals/"):
        for headers in ({}, bearer(token.token)):
            response = (client if not headers else Client()).get(f"/api/{url}", headers=headers)
            assert response.status_code < 500, url
    pending = lifecycle.mint(project=engine, name="z", scopes=SCOPES)
    type(pending.key).objects.filter(pk=pending.key.pk).update(is_pending=True)
    assert b"z" in client.get("/settings/keys/approvals/").content
    lifecycle.revoke(key.key)
    leaks.report(token.token, source="a test")


def test_commands_find_users(ada, engine):
    def run(*words):
        call_command("apikeys", *words, stdout=(out := io.StringIO()), stderr=io.StringIO())
        return out.getvalue()

    run("mint", "--user", "ada", "--name", "n", "--scope", "payments:read", "--expires", "5d")
    assert "ada" in run("list", "--user", "ada")
    for words in (["notify"], ["prune"], ["audit"], ["audit-policy"]):
        run(*words)
    with pytest.raises(Exception, match="Did you mean 'ada'"):
        run("list", "--user", "adaa")


def test_no_check_fails():
    call_command("check", verbosity=0)
