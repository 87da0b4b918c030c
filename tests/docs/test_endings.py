"""The code of the pages on what ends and narrows a key runs, and their answers are real."""

import json
import sys
from types import ModuleType

import pytest
from django.core.checks import run_checks
from django.test import RequestFactory

from apikeys import lifecycle, usage
from apikeys.models import ScopeUse, State
from apikeys.policy import get_policy
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.documents import blocks, table
from tests.factories import bearer, mint_pat

ENDINGS = "docs/reference/endings.md"
NARROWING = "docs/how-to/keep-only-what-is-used.md"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_noted(db):
    """Clear the notes of other tests."""
    usage.flush()


def test_a_use_after_the_end_looks_as_shown(client, ada):
    (shown,) = map(json.loads, blocks(ENDINGS, "json"))
    old, reader = mint_pat(ada), mint_pat(ada, scopes=["keys:read"])
    lifecycle.revoke(old.key)
    for _ in range(shown["count"]):
        with pytest.raises(Refused, match="revoked_key"):
            verify(old.token, RequestFactory(REMOTE_ADDR=shown["ip"]).get("/"))
    usage.flush()

    url = f"/api/tokens/{old.key.public_id}/"
    fact = client.get(url, headers=bearer(reader.token)).json()["used_after_end"]
    assert list(fact) == list(shown)
    times = {name: shown[name] for name in ("first", "last")}
    assert fact | times == shown


def test_the_policy_limits_the_time_without_use(settings, monkeypatch, ada):
    module = ModuleType("acme_policy")
    exec(blocks(ENDINGS, "python")[0], vars(module))
    monkeypatch.setitem(sys.modules, "acme_policy", module)
    settings.APIKEYS = settings.APIKEYS | {"POLICY": "acme_policy.AcmePolicy"}

    assert get_policy().longest_idle(ada).days == 90


def test_the_events_of_a_user_do_what_the_settings_say(settings, ada, engine):
    chosen, call = blocks(ENDINGS, "python")[1:]
    exec(chosen, values := {})
    actions = values["APIKEYS"]["WHEN_USER"]
    listed = [name.strip("`") for name, *_ in table(ENDINGS, "event")]
    assert list(actions) == listed
    settings.APIKEYS = settings.APIKEYS | values["APIKEYS"]
    assert not [each for each in run_checks() if "WHEN_USER" in each.msg]

    minted = mint_pat(ada, projects=[engine])
    exec(call, {"ada": ada, "engine": engine})
    minted.key.refresh_from_db()
    assert minted.key.state() == State.PAUSED


def test_a_view_notes_the_scopes_that_it_checks_itself(ada):
    (code,) = blocks(NARROWING, "python")
    exec(code, scope := {})

    found = []
    for scopes in ["payments:read"], ["reports:read"]:
        minted = mint_pat(ada, scopes=scopes)
        request = RequestFactory().get("/")
        request.auth = verify(minted.token)
        status = scope["payments"](request).status_code
        usage.flush()
        uses = ScopeUse.objects.filter(credential=minted.key.public_id)
        found.append((status, list(uses.values_list("scope", "count"))))
    assert found == [(200, [("payments:read", 1)]), (403, [])]
    request.auth = None
    assert scope["payments"](request).status_code == 403
