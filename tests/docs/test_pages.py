"""What the documents say is so: their tables are complete and their code runs."""

import io
import re
import shlex
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command

from apikeys import policy
from apikeys.conf import AppSettings
from apikeys.drf.scoping import required_scopes
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.refusals import REFUSALS
from apikeys.verify import verify
from example_project.payments.models import Payment
from tests.documents import blocks, read, table
from tests.factories import MembershipFactory, mint_pat


def test_every_setting_is_listed_with_its_default(settings):
    settings.APIKEYS = {}
    defaults = AppSettings()
    rows = {
        name.strip("`"): default for name, default, _ in table("docs/reference/settings.md", "name")
    }

    assert set(rows) - {"APIKEYS_PROJECT_MODEL"} == set(AppSettings.names())
    for name in set(rows) - {"APIKEYS_PROJECT_MODEL", "PEPPERS", "POLICY"}:
        assert eval(rows[name].strip("`"), {"timedelta": timedelta}) == getattr(defaults, name)
    assert type(defaults.POLICY) is policy.Policy


def test_every_refusal_is_listed():
    rows = table("docs/reference/refusals.md", "code")

    assert rows == [
        [f"`{r.code}`", str(r.status), f"`{r.error}`" if r.error else "", str(r.message)]
        for r in REFUSALS.values()
    ]


def test_the_readme_tells_the_status_of_every_refusal():
    told = {
        code: int(status)
        for _, status, codes in table("README.md", "situation")
        for code in re.findall(r"`(\w+)`", codes)
    }

    assert told == {c: r.status for c, r in REFUSALS.items() if c != "verification_busy"}


@pytest.fixture
def ada(db):
    return MembershipFactory(
        user__username="ada", project__slug="analytical-engine", role="owner"
    ).user


def test_the_life_of_a_key_in_python(ada):
    engine = ada.project_memberships.get().project
    scope = {"ada": ada, "engine": engine}

    (code,) = blocks("docs/reference/keys.md", "python")
    exec(code, scope)

    minted, server, rotated = scope["minted"], scope["server"], scope["rotated"]
    assert minted.key.revoked_reason == "The laptop was lost."
    assert list(rotated.key.projects.all()) == [engine]
    assert verify(rotated.token).user == ada
    assert verify(server.token).project == engine


def test_the_life_of_a_key_in_the_shell(ada, monkeypatch):
    key = mint_pat(ada)
    monkeypatch.setattr("sys.stdin", io.StringIO(key.token))
    (code,) = blocks("docs/reference/keys.md", "console")
    for line in code.splitlines():
        words = shlex.split(line.removeprefix("python manage.py ").replace("< token.txt", ""))
        if words[1] == "verify":  # the last line, of a key that the line before revoked
            with pytest.raises(CommandError):
                call_command(*words, stdout=io.StringIO(), stderr=io.StringIO())
        else:
            words = [key.key.public_id if re.fullmatch(r"7k2m\w{12}", w) else w for w in words]
            call_command(*words, stdout=io.StringIO(), stderr=io.StringIO())

    key.key.refresh_from_db()
    assert key.key.successor is not None
    assert key.key.revoked_reason == "The laptop was lost."
    assert set(PersonalAccessToken.objects.values_list("name", flat=True)) == {"ci", "laptop"}
    assert ProjectKey.objects.get().name == "server"


def test_what_a_view_finds(ada):
    query, declarations, own_policy = blocks("docs/reference/access.md", "python")

    project = ada.project_memberships.get().project
    payment = Payment.objects.create(project=project, amount=1)
    access = verify(mint_pat(ada).token)
    found = eval(query, {"Payment": Payment, "request": SimpleNamespace(auth=access)})
    assert list(found) == [payment]

    for line in declarations.splitlines():
        view = SimpleNamespace()
        exec(line, vars(view))
        assert required_scopes(view, "GET", "list") == ("payments:read",)

    scope = {}
    exec(own_policy, scope)
    acme = scope["AcmePolicy"]()
    assert not acme.role_allows("developer", "payments:write")
    assert acme.role_allows("owner", "payments:write")


def test_the_documented_regular_expression_finds_a_key():
    (pattern,) = set(re.findall(r"`(acme_\(pat\|key\)_[^`]+)`", read("docs/reference/keys.md")))
    from apikeys import token

    text = token.compose("acme", "pat", token.generate_id(), token.generate_secret())
    assert re.findall(pattern, f"key={text}, ") == ["pat"]
