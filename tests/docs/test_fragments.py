"""The fragments of code in the reference: settings pass their checks, commands do what they say."""

import json
import re
import shlex
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace
from urllib.parse import urlencode

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.http import JsonResponse
from django.test import AsyncRequestFactory, override_settings
from django.urls import include, path
from ninja import NinjaAPI
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from apikeys import lifecycle, usage
from apikeys.checks import check_settings
from apikeys.drf import BearerAuthentication, HasBinding, HasScope, KeyThrottle
from apikeys.gateway.asgi import get_application
from apikeys.gateway.rules import Rule
from apikeys.limits import counting
from apikeys.ninja import KeyAuth
from apikeys.verify import verify
from example_project.payments.api import PaymentSerializer
from example_project.payments.management.commands import demo
from example_project.payments.models import Payment
from tests.docs.reader import installed
from tests.documents import ROOT, blocks
from tests.factories import ProjectFactory, UserFactory, bearer, mint_key, mint_pat


@pytest.mark.parametrize(
    ("document", "number"),
    [
        ("docs/explanation/performance.md", 1),
        ("docs/how-to/basic-authentication.md", 0),
        ("docs/how-to/import-keys.md", 0),
        ("docs/reference/gateway.md", 0),
        ("docs/reference/gateway.md", 4),
        ("docs/reference/leaks.md", 0),
        ("docs/reference/leaks.md", 1),
        ("docs/reference/limits.md", 0),
        ("docs/reference/networks.md", 0),
        ("docs/reference/pages.md", 1),
        ("docs/reference/pages.md", 3),
        ("docs/reference/pages.md", 4),
        ("docs/reference/pages.md", 5),
        ("docs/reference/pages.md", 6),
    ],
)
def test_settings_pass_their_checks(document, number, settings):
    scope = {"APIKEYS": {}, "INSTALLED_APPS": []}
    exec(blocks(document, "python")[number], scope)
    given = {name: value for name, value in scope.items() if name.isupper()}
    del given["INSTALLED_APPS"]
    given["APIKEYS"] = {"SCOPES": {"offers:read": "See offers"}, **given["APIKEYS"]}

    with override_settings(**given):
        assert check_settings() == []


def test_views_outside_drf(ada):
    *_, view, ninja = blocks("docs/explanation/performance.md", "python")
    scope = {"JsonResponse": JsonResponse, "api": (api := NinjaAPI())}
    exec(view, scope)
    call = async_to_sync(scope["payments"])
    token = mint_pat(ada).token

    assert call(AsyncRequestFactory().get("/", headers=bearer(token))).status_code == 200
    assert call(AsyncRequestFactory().get("/")).status_code == 401

    exec(ninja, scope)
    (operation,) = api.default_router.path_operations["/payments"].operations
    assert isinstance(operation.auth_callbacks[0], KeyAuth)


def test_the_options_are_those_that_were_measured():
    options, *_ = blocks("docs/explanation/performance.md", "python")

    assert options.strip() in (ROOT / "tests/benchmarks/settings.py").read_text()


def test_urls_of_the_pages_and_the_gateway():
    for document in ("docs/reference/pages.md", "docs/reference/gateway.md"):
        (code,) = (b for b in blocks(document, "python") if "urlpatterns" in b)
        scope = {"urlpatterns": [], "path": path, "include": include}
        exec(code, scope)
        assert all(resolver.url_patterns for resolver in scope["urlpatterns"])


def test_a_route_for_pages_of_another_origin():
    (code,) = (b for b in blocks("docs/reference/gateway.md", "python") if '"cors"' in b)
    rule = Rule.declared(eval(code))
    assert rule.allows_origin("https://app.acme.example")
    assert not rule.allows_origin("https://acme.example")


def test_a_view_that_is_held_to_bindings():
    (code,) = (b for b in blocks("docs/reference/gateway.md", "python") if "HasBinding" in b)
    scope = {"APIView": APIView}
    exec(code, scope)

    response = scope["Offers"].as_view()(APIRequestFactory().get("/"), subscriber_id="1001")
    assert response.status_code == 401
    assert scope["Offers"].permission_classes == [HasBinding]


def test_a_sudo_of_ones_own():
    scope = {"time": time, "urlencode": urlencode}
    exec(blocks("docs/reference/pages.md", "python")[2], scope)
    sudo = scope["HardwareKey"]()

    assert not sudo.is_recent(SimpleNamespace(session={}))
    assert sudo.is_recent(SimpleNamespace(session={"touched_at": time.time()}))
    assert sudo.url(None, "/a/") == "/touch-your-key/?next=%2Fa%2F"


def test_sentry_is_sent_no_key(monkeypatch):
    sentry = ModuleType("sentry_sdk")
    sentry.init = lambda **kwargs: vars(sentry).update(kwargs)
    monkeypatch.setitem(sys.modules, "sentry_sdk", sentry)
    exec(blocks("docs/reference/leaks.md", "python")[2], {})

    text = f"acme_pat_{'0' * 16}_{'S' * 49}"
    for hook in (sentry.before_send, sentry.before_send_transaction):
        assert "SSSS" not in json.dumps(hook({"message": text}, {}))


def test_the_template_is_that_of_the_how_to():
    (template,) = blocks("docs/reference/pages.md", "html")
    (own,) = blocks("docs/how-to/own-look.md", "html")
    _, _, rest = own.partition("\n")

    assert re.sub(">Acme.*?<", "><", template) == re.sub(">Acme.*?<", "><", rest)


@pytest.mark.django_db
def test_the_first_view_of_the_documentation(ada):
    (code,) = blocks("docs/index.md", "python")
    (install,) = blocks("docs/index.md", "console")
    project = ada.project_memberships.get().project
    Payment.objects.create(project=project, amount=12)
    Payment.objects.create(project=ProjectFactory(), amount=99)
    scope = {"Payment": Payment, "PaymentSerializer": PaymentSerializer}
    exec(code, scope)

    def get(key):
        request = APIRequestFactory().get("/", headers=bearer(key.token))
        return scope["Payments"].as_view()(request)

    key = mint_pat(ada)
    assert [each["amount"] for each in get(key).data] == ["12.00"]
    assert get(mint_pat(ada, scopes=["reports:read"])).status_code == 403
    lifecycle.revoke(key.key)
    assert get(key).status_code == 401
    assert install == "$ pip install apikeys\n"


def test_daily_uses_of_a_project_are_added_up(engine):
    for _ in range(2):
        verify(mint_key(engine).token)
    usage.flush()
    exec(blocks("docs/reference/limits.md", "python")[-1], scope := {})
    assert scope["requests"] == 2


@pytest.mark.django_db
def test_the_headers_of_a_limited_key():
    class View(APIView):
        authentication_classes = [BearerAuthentication]
        permission_classes = [HasScope]
        throttle_classes = [KeyThrottle]
        required_scopes = ["payments:read"]

        def get(self, request):
            return JsonResponse({})

    counting._make_limiter.cache_clear()
    key = mint_pat(rate_limits=["10/second", "1000/hour"])
    response = View.as_view()(APIRequestFactory().get("/", headers=bearer(key.token)))

    shown = [
        line.split(": ", 1) for line in blocks("docs/reference/limits.md", "http")[0].splitlines()
    ]
    for name, value in shown:
        assert re.sub(r"([rt])=\d+", r"\1=", value) == re.sub(r"([rt])=\d+", r"\1=", response[name])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "document", ["docs/reference/audit.md", "docs/reference/policy.md", "docs/reference/gateway.md"]
)
def test_commands(document, engine, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bindings.csv").write_text(
        "user,project,kind,identifier\n,analytical-engine,subscriber_id,1002\n"
    )
    for line in "".join(blocks(document, "console")).replace("\\\n", "").splitlines():
        if line.startswith("pip install"):
            installed(line)
        elif line.startswith("curl"):
            continue  # see TestByCurl
        elif "uvicorn" in line:
            assert f"{get_application.__module__}:{get_application.__name__}" in line
        else:
            words = shlex.split(line.removeprefix("python manage.py "))
            if words[0] == "demo":  # tests/example/test_gateway.py serves it
                demo.Command().create_parser("manage.py", "demo").parse_args(words[1:])
            else:
                call_command(*words)


@pytest.mark.django_db(transaction=True)
class TestByCurl:
    @pytest.fixture
    def run(self, live_server, tmp_path):
        def run(line, host, **variables):
            line = line.replace(host, live_server.url).replace("curl", "curl -sS --fail")
            return subprocess.run(
                ["bash", "-euc", line],
                cwd=tmp_path,
                env={"PATH": "/usr/bin:/bin", **variables},
                capture_output=True,
                text=True,
                check=True,
            ).stdout

        return run

    def test_reporting_a_leak(self, run, tmp_path):
        key = mint_pat()
        (tmp_path / "found.json").write_text(json.dumps({"token": key.token}))
        (line,) = blocks("docs/reference/leaks.md", "console")

        assert json.loads(run(line, "https://acme.example")) == {
            "revoked": [key.key.public_id],
            "unknown": 0,
        }

    def test_bindings(self, run, engine, settings):
        scopes = {**settings.APIKEYS["SCOPES"], "bindings:write": "Bind"}
        settings.APIKEYS = {**settings.APIKEYS, "SCOPES": scopes}
        token = mint_pat(UserFactory(is_superuser=True), scopes=["bindings:write"]).token
        (block,) = (b for b in blocks("docs/reference/gateway.md", "console") if "curl" in b)
        make, read = block.replace("\\\n", "").splitlines()

        made = json.loads(run(make, "https://acme.example", TOKEN=token))
        assert json.loads(run(read, "https://acme.example", TOKEN=token))["results"] == [made]

    def test_a_key_as_a_client(self, run, engine):
        key = mint_key(engine, scopes=["payments:read"])
        line, command = blocks("docs/reference/oauth.md", "console")
        answer = run(line, "https://api.example.com", KEY_ID=key.key.public_id, KEY=key.token)

        assert json.loads(answer)["scope"] == "payments:read"
        installed(command.splitlines()[0])

    def test_a_key_as_a_user_name(self, run, settings):
        settings.APIKEYS = {**settings.APIKEYS, "BASIC_AUTH": True}
        (line,) = blocks("docs/how-to/basic-authentication.md", "console")
        line = line.replace("/api/payments/", "/api/token/")

        facts = json.loads(run(line, "http://127.0.0.1:8000", TOKEN=mint_pat().token))
        assert facts["kind"] == "personal_access_token"
