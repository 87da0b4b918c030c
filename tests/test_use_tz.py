# ruff: noqa: DTZ001, DTZ005 - naive moments are what such a site has
"""Every page, command and endpoint on a site with ``USE_TZ = False``."""

import io
import json
import re
from datetime import datetime, timedelta

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLResolver, get_resolver
from django.utils import timezone
from oauth2_provider.models import Application, get_access_token_model

from apikeys import lifecycle, moments, usage
from apikeys.cache.lookup import Lookup
from apikeys.keys import queries
from apikeys.management.commands.apikeys import Command
from apikeys.models import AuditEvent, PersonalAccessToken, ProjectKey
from apikeys.verify import Refused, verify
from tests.factories import bearer, mint_key, mint_pat

SCOPES = ["payments:write", "keys:write"]


@pytest.fixture(autouse=True)
def without_time_zones(db, settings, monkeypatch):
    settings.USE_TZ = False
    settings.TIME_ZONE = "America/New_York"

    compiled, used = Lookup._compiled, {}

    def compile_anew(self, alias):
        used[id(self)] = self
        self._local.__dict__.clear()  # what was compiled converts moments as the settings were
        return compiled(self, alias)

    monkeypatch.setattr(Lookup, "_compiled", compile_anew)
    yield
    for lookup in used.values():
        lookup._local.__dict__.clear()


@pytest.fixture
def root(ada):
    """Ada, who may also use the admin."""
    ada.is_staff = ada.is_superuser = True
    ada.save()
    return ada


@pytest.fixture
def keys(ada):
    """A token and a key that expire soon, were used, and were rotated."""
    engine = ada.project_memberships.get().project
    soon = datetime.now() + timedelta(days=3)
    common = {"scopes": SCOPES, "expires_at": soon, "by": ada}
    made = [
        lifecycle.mint(user=ada, name="token", **common),
        lifecycle.mint(project=engine, name="key", **common),
    ]
    for each in made:
        verify(each.token)
    usage.flush()
    rotated = [lifecycle.rotate(each.key) for each in made]
    type(made[1].key).objects.filter(pk=mint_key(engine).key.pk).update(is_pending=True)
    lifecycle.revoke(mint_pat(ada).key, reason="Lost.")
    PersonalAccessToken.objects.filter(pk=mint_pat(ada).key.pk).update(
        expires_at=datetime.now() - timedelta(days=1)
    )
    return rotated


@pytest.fixture
def client(client, root):
    client.force_login(root)
    return client


def paths(patterns, prefix=""):
    for pattern in patterns:
        path = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from paths(pattern.url_patterns, path)
        else:
            yield path


@pytest.mark.slow
def test_every_url_answers(client, keys):
    token, key = (each.key for each in keys)
    application = Application.objects.create(
        user=token.user,
        client_type="confidential",
        authorization_grant_type="authorization-code",
        redirect_uris="https://example.com/",
    )
    event = AuditEvent.objects.first()
    values = {"slug": "analytical-engine", "kind": key.KIND, "pk": application.pk, "client_id": "x"}
    asked = 0
    for path in sorted(set(paths(get_resolver().url_patterns))):
        of_project = "projects/" in path or "projectkey" in path
        one = key if of_project else token

        def value(match, one=one, path=path):
            name = match[1].rpartition(":")[2]
            if name == "object_id":
                return str(event.pk if "auditevent" in path else one.pk)
            if name in ("key_id", "id", "public_id"):
                return one.public_id
            return str(values.get(name, "1"))

        url = re.sub(r"<([^>]+)>", value, path)
        if re.search(r"[\^$(\\]", url):
            url = re.sub(r"\(\?P<\w+>[^)]*\)|[\^$\\?]", "", url)
        response = client.get(f"/{url}")
        assert response.status_code < 500, (url, response.content[:200])
        asked += 1
    assert asked > 50


@pytest.mark.parametrize("query", ["", "?state=live", "?state=expired", "?expires=7", "?q=ada"])
def test_the_lists_of_the_admin(client, keys, query):
    for name in ("personalaccesstoken", "projectkey", "auditevent"):
        assert client.get(f"/admin/apikeys/{name}/{query}").status_code < 500, name


def test_filters_of_many_rows(keys, monkeypatch):
    monkeypatch.setattr(queries, "FEW", 0)
    now = timezone.now()
    for state in queries.State:
        assert queries.in_state(PersonalAccessToken.objects.all(), state).count() >= 0
    tokens = PersonalAccessToken.objects.all()
    assert queries.in_state(tokens, queries.State.LIVE).count() == 2
    assert queries.expiring(tokens, now, now + timedelta(days=7)).exists()
    assert queries.lasting(tokens).exists()
    assert queries.used(tokens, now - timedelta(days=1)).exists()
    assert not queries.idle(tokens, now - timedelta(days=1)).exists()
    assert queries.unused(tokens).exists()


@pytest.mark.slow
def test_the_pages_mint_edit_rotate_and_revoke(client, ada):
    form = {"name": "laptop", "expiry": "custom", "scopes:payments": "payments:read"}
    form |= {"expires_on": (moments.today() + timedelta(days=9)).isoformat(), "reach": "all"}
    shown = client.get("/settings/keys/new/").content.decode()
    form["once"] = re.search(r'name="once" value="([^"]+)"', shown)[1]
    assert client.post("/settings/keys/new/", form | {"step": "summary"}).status_code == 200
    assert client.post("/settings/keys/new/", form | {"step": "mint"}).status_code == 200
    key = PersonalAccessToken.objects.get(name="laptop")
    assert key.expires_at == datetime.combine(moments.today(), datetime.max.time()).replace(
        microsecond=0
    ) + timedelta(days=9)
    for name, more in (
        ("edit", form | {"name": "desk", "step": "save"}),
        ("rotate", {"overlap": "3600", "expiry": "30"}),
        ("revoke", {"reason": "Lost."}),
    ):
        response = client.post(f"/settings/keys/{key.public_id}/{name}/", more)
        assert response.status_code in (200, 302), (name, response.content)


@pytest.mark.slow
def test_the_api_mints_edits_rotates_and_revokes(keys):
    headers = bearer(keys[0].token)
    later = datetime.now() + timedelta(days=1)
    for sent, stored in (
        (moments.iso(later), later),
        ((moments.today() + timedelta(days=2)).isoformat(), None),
        (None, None),
    ):
        body = {"name": "x", "scopes": ["payments:read"]}
        if sent is not None:
            body["expires_at"] = sent
        response = Client().post(
            "/api/tokens/", body, content_type="application/json", headers=headers
        )
        assert response.status_code == 201, response.json()
        told = datetime.fromisoformat(response.json()["expires_at"])
        made = PersonalAccessToken.objects.get(public_id=response.json()["id"])
        assert moments.stored(told) == made.expires_at
        assert told.utcoffset() is not None
        if stored:
            assert made.expires_at == stored
        url = f"/api/tokens/{made.public_id}/"
        for method, path, data in (
            ("get", url, None),
            ("patch", url, {"expires_at": moments.iso(datetime.now() + timedelta(hours=5))}),
            ("post", f"{url}rotate/", {}),
            ("delete", url, {}),
        ):
            answer = getattr(Client(), method)(
                path,
                data if data is None else json.dumps(data),
                content_type="application/json",
                headers=headers,
            )
            assert answer.status_code < 300, (method, path, answer.content)
    for url in ("/api/token/", "/api/tokens/", "/api/tokens/audit/"):
        assert Client().get(url, headers=headers).status_code == 200


def test_expiry_is_enforced(keys):
    PersonalAccessToken.objects.filter(pk=keys[0].key.pk).update(
        expires_at=datetime.now() - timedelta(seconds=1)
    )
    with pytest.raises(Refused, match="expired_key"):
        verify(keys[0].token)


def run(*words):
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


@pytest.mark.slow
def test_every_command(keys, tmp_path):
    token = keys[0].key
    csv = tmp_path / "keys.csv"
    csv.write_text(
        "key,name,user,scopes,expires,created\n"
        "K1-abcdefghijklmnopqrstuvwxyz012345,csv,ada,payments:read,2030-01-31,2020-01-31\n"
        "K2-abcdefghijklmnopqrstuvwxyz012345,csv,ada,payments:read,2030-01-31T12:00Z,\n"
    )
    asked = {
        "list": [["--all"], ["--all", "--json"]],
        "show": [[token.public_id], [token.public_id, "--json"]],
        "mint": [
            ["--user", "ada", "--name", when, "--scope", "payments:read", "--expires", when]
            for when in ("90d", "2030-01-31", "2030-01-31T12:00Z", "2030-01-31T12:00")
        ],
        "edit": [[token.public_id, "--expires", "2030-01-31"]],
        "rotate": [[token.public_id, "--expires", "2030-01-31"]],
        "audit": [["--since", "2020-01-01", "--until", "2040-01-01"], ["--format", "csv"]],
        "audit-policy": [[]],
        "prune": [[]],
        "notify": [[]],
        "import": [["--from", "csv", str(csv)]],
        "revoke": [[token.public_id, "--reason", "Lost."]],
    }
    known = set(Command.subcommands) if hasattr(Command, "subcommands") else set(asked)
    assert set(asked) <= known
    for name, calls in asked.items():
        for words in calls:
            run("apikeys", name, *words)
    ends = set(PersonalAccessToken.objects.filter(name="csv").values_list("expires_at", flat=True))
    assert ends == {datetime(2030, 1, 31, 23, 59, 59), datetime(2030, 1, 31, 7)}
    assert PersonalAccessToken.objects.get(name="2030-01-31T12:00Z").expires_at == datetime(
        2030, 1, 31, 7
    )


@pytest.mark.parametrize("kind", [0, 1])
def test_oauth(keys, kind, settings):
    minted = keys[kind]
    form = {
        "grant_type": "client_credentials",
        "client_id": minted.key.public_id,
        "client_secret": minted.token,
    }
    made = Client().post("/o/token/", form).json()
    for text in (made["access_token"], minted.token):
        assert Client().get("/api/token/", headers=bearer(text)).status_code == 200
    exchanged = Client().post(
        "/o/token/",
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": made["access_token"],
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "client_id": minted.key.public_id,
            "client_secret": minted.token,
        },
    )
    assert exchanged.status_code == 200, exchanged.content
    token = get_access_token_model()._default_manager.latest("pk")
    assert timezone.is_naive(token.expires)
    service = Application.objects.create(
        client_type="confidential",
        authorization_grant_type="client-credentials",
        client_secret="secret",
    )
    asked = Client().post(
        "/o/introspect/",
        {
            "token": made["access_token"],
            "client_id": service.client_id,
            "client_secret": "secret",
        },
    )
    assert asked.json()["active"]
    assert abs(asked.json()["exp"] - datetime.now().timestamp()) < 3600
    ended = Client().post("/o/revoke_token/", {"token": made["access_token"], **form})
    assert ended.status_code == 200


def test_the_gateway(keys, settings):
    settings.APIKEYS = {
        **settings.APIKEYS,
        "GATEWAY_ROUTES": [{"method": "GET", "path": "/a", "scopes": ["payments:read"]}],
        "GATEWAY_PROXY": "nginx",
    }
    headers = bearer(keys[0].token) | {"X-Original-Method": "GET", "X-Original-URI": "/a"}
    assert Client().get("/gateway/authorize/", headers=headers).status_code < 500


def test_admin_forms(client, ada, keys):
    day = (moments.today() + timedelta(days=5)).isoformat()
    form = {"name": "made", "user": ada.pk, "scopes": ["payments:read"], "all_projects": "on"}
    for time, hour in (("12:00:00", 12), ("", 23)):
        response = client.post(
            "/admin/apikeys/personalaccesstoken/add/",
            form | {"expires_at_0": day, "expires_at_1": time},
        )
        assert response.status_code in (200, 302), response.content
        key = PersonalAccessToken.objects.filter(name="made").latest("pk")
        assert (key.expires_at.hour, key.expires_at.date().isoformat()) == (hour, day)
    assert ProjectKey.objects.exists()


def test_a_client_registers_itself(client, keys):
    made = client.post(
        "/o/register/",
        {"redirect_uris": ["http://127.0.0.1/callback"], "client_name": "x"},
        content_type="application/json",
    )
    assert made.status_code == 201, made.content
    headers = bearer(made.json()["registration_access_token"])
    url = made.json()["registration_client_uri"]
    assert Client().get(url, headers=headers).status_code == 200


def test_a_device(client, keys):
    Application.objects.create(
        client_id="tv",
        client_type="public",
        authorization_grant_type=Application.GRANT_DEVICE_CODE,
        client_secret="",
    )
    form = "client_id=tv&scope=payments:read"
    kind = "application/x-www-form-urlencoded"
    device = Client().post("/o/device-authorization/", form, content_type=kind).json()
    asked = client.post("/o/device/", {"user_code": device["user_code"]})
    assert asked.status_code == 302, asked.content
    allowed = client.post(asked["Location"], {"action": "accept", "reach": "all"})
    assert allowed.status_code == 302, allowed.content
    poll = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "tv",
        "device_code": device["device_code"],
    }
    made = Client().post("/o/token/", poll)
    assert made.status_code == 200, made.content
    used = Client().get("/api/token/", headers=bearer(made.json()["access_token"]))
    assert used.status_code == 200
    again = client.post("/o/device/", {"user_code": device["user_code"]})
    assert again.status_code == 200
