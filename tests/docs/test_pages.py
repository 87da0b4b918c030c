"""What the documents say is so: their tables are complete and their code runs."""

import io
import re
import shlex
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from apikeys.conf import AppSettings
from apikeys.conf.endings import EndSettings
from apikeys.conf.replicas import ReplicaSettings
from apikeys.conf.setting import all_names
from apikeys.drf.scoping import required_scopes
from apikeys.gateway.conf import GatewaySettings
from apikeys.issuers.conf import IssuersSettings
from apikeys.models import AuditEvent, PersonalAccessToken, ProjectKey
from apikeys.oauth.conf import OAuthSettings
from apikeys.policy import Policy
from apikeys.refusals import REFUSALS
from apikeys.verify import verify
from apikeys.workloads.conf import WorkloadSettings
from example_project.payments.models import Payment
from tests.documents import ROOT, blocks, headings, read
from tests.factories import mint_pat

TABLES = (
    AppSettings,
    OAuthSettings,
    IssuersSettings,
    EndSettings,
    ReplicaSettings,
    GatewaySettings,
    WorkloadSettings,
)


def test_every_setting_has_an_anchor_and_its_default():
    page = "docs/reference/settings.md"
    written = dict(
        re.findall(r"^### (\w+)\n.*?^- Default: (.*?)\.$", read(page), re.DOTALL | re.MULTILINE)
    )

    assert list(written) == [name for part in TABLES for name in part.names()]
    assert set(written) == set(all_names())
    assert {name.lower() for name in written} <= set(headings(ROOT / page))
    for part in TABLES:
        for each in part.declared():
            if each.name != "PEPPERS":
                value = eval(written[each.name].strip("`"), {"timedelta": timedelta})
                assert value == each.default


def test_every_refusal_has_an_anchor_its_status_and_its_message():
    page = read("docs/reference/refusals.md")
    written = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", page, re.DOTALL | re.MULTILINE))

    assert sorted(written) == sorted(REFUSALS)
    for refusal in REFUSALS.values():
        assert f"> {refusal.message}\n" in written[refusal.code]
        assert f"- Status: {refusal.status}.\n" in written[refusal.code]
        assert (f"`{refusal.error}`" in written[refusal.code]) == bool(refusal.error)


def test_the_refusals_of_restrictions_have_a_section():
    section = read("docs/reference/refusals.md").partition("\n## Restrictions\n")[2]
    codes = re.findall(r"^### `(\w+)`$", section.partition("\n## ")[0], re.MULTILINE)
    assert {"ip_not_allowed", "not_yet_valid"} <= set(codes)


def test_every_system_check_has_an_anchor():
    source = "".join(path.read_text("utf-8") for path in (ROOT / "apikeys").rglob("*.py"))
    found = set(re.findall(r"""["'](?:apikeys\.)?([EW]\d{3})["']""", source))
    written = re.findall(
        r"^### ([EW]\d{3})\n\n`apikeys.\1`\n\n> .", read("docs/reference/checks.md"), re.MULTILINE
    )

    assert len(found) > 50
    assert set(written) == found
    assert len(written) == len(found)


def test_the_life_of_a_key_in_python(ada):
    engine = ada.project_memberships.get().project
    scope = {"ada": ada, "engine": engine}

    life, pausing, labelling, policy = blocks("docs/reference/keys.md", "python")
    exec(life, scope)

    minted, server, rotated = scope["minted"], scope["server"], scope["rotated"]
    assert minted.key.revoked_reason == "The laptop was lost."
    assert list(rotated.key.projects.all()) == [engine]
    assert verify(rotated.token).user == ada
    assert verify(server.token).project == engine

    exec(pausing, scope)
    assert verify(server.token).project == engine
    events = AuditEvent.objects.filter(public_id=server.key.public_id)
    assert {"paused", "resumed"} <= set(events.values_list("event", flat=True))

    exec(labelling, scope)
    assert verify(scope["job"].token).metadata == {"team": "sales"}
    exec(policy, scope | {"Policy": Policy})


@pytest.mark.slow
def test_the_life_of_a_key_in_the_shell(ada, monkeypatch):
    key = mint_pat(ada)
    monkeypatch.setattr("sys.stdin", io.StringIO(key.token))
    pausing, code = blocks("docs/reference/keys.md", "console")
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

    key = mint_pat(ada)
    PersonalAccessToken.objects.filter(pk=key.key.pk).update(last_used_at=timezone.now())
    states = []
    for line in pausing.splitlines():
        words = shlex.split(line.removeprefix("python manage.py "))
        words = [key.key.public_id if re.fullmatch(r"7k2m\w{12}", w) else w for w in words]
        call_command(*words, stdout=io.StringIO(), stderr=io.StringIO())
        key.key.refresh_from_db()
        states.append(key.key.state())
    assert states == ["paused", "live", "live"]


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
    (pattern,) = set(re.findall(r"`(acme_\(\?:pat\|key\)_[^`]+)`", read("docs/reference/keys.md")))
    from apikeys import token

    text = token.compose("acme", "pat", token.generate_id(), token.generate_secret())
    assert re.findall(pattern, f"key={text}, ") == [text]
