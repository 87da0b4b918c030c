"""The code of the guides on production, monitoring, recipes and of the reference pages runs."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.util import find_spec
from types import ModuleType

import hcl2
import httpx
import pytest
import yaml
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.test import RequestFactory, override_settings
from django.utils import timezone
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import REGISTRY
from rest_framework.test import APIRequestFactory

from apikeys import health, lifecycle, signals
from apikeys.checks.workloads import check_workloads
from apikeys.keys.setup import setups
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.refusals import Refused
from apikeys.verify import verify
from example_project.payments import models as payments
from tests.docs.reader import installed
from tests.documents import ROOT, blocks, read, table
from tests.factories import MembershipFactory, bearer, mint_key, mint_pat
from tests.workloads import issuer

pytestmark = pytest.mark.django_db


@pytest.fixture
def module(monkeypatch):
    """Put the code of a page into a module with this name, and return it."""

    def module(name, code, **scope):
        made = ModuleType(name)
        made.__package__ = name.rpartition(".")[0]
        vars(made).update(scope)
        monkeypatch.setitem(sys.modules, name, made)
        exec(compile(code, name, "exec"), vars(made))
        return made

    return module


@pytest.fixture
def production(monkeypatch):
    for name in ("SECRET_KEY", "APIKEYS_PEPPERS", "WEBHOOK_SECRET", "OIDC_CLIENT_ID"):
        monkeypatch.setenv(name, "zK8-3fUeC1vQ9_mXw2LrTt7yBn5HsJd0aGpRiYoEbVqNkMcA4S")
    monkeypatch.setenv("OIDC_CLIENT_SECRET", "none")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")


def follow(lines, *, stdin=""):
    """Run commands of a page in this process; return what the last one prints."""
    out = io.StringIO()
    for line in lines.replace("\\\n", "").splitlines():
        if line.startswith("pip install"):
            installed(line)
            continue
        words = shlex.split(re.sub(r" [<>] \S+$", "", line).removeprefix("python manage.py "))
        out = io.StringIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.StringIO(stdin))
            call_command(*words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


# Production and operation


@pytest.mark.slow
def test_the_settings_of_production_pass_every_check(production, settings):
    page = "docs/how-to/go-to-production.md"
    scope = {"MIDDLEWARE": ["django.middleware.security.SecurityMiddleware"]}
    scope["MIDDLEWARE"] += ["django.middleware.csrf.CsrfViewMiddleware"]
    scope["MIDDLEWARE"] += ["django.middleware.clickjacking.XFrameOptionsMiddleware"]
    exec(blocks(page, "python")[0], scope)
    given = {name: value for name, value in scope.items() if name.isupper()}
    scopes = {**given["APIKEYS"]["SCOPES"], "reports:read": "See reports"}  # of the example
    given["APIKEYS"] = {**given["APIKEYS"], "SCOPES": scopes}
    given["REST_FRAMEWORK"] = {**settings.REST_FRAMEWORK, **given["REST_FRAMEWORK"]}

    with override_settings(**given):
        found = run_checks(include_deployment_checks=True)
    named = {each.id for each in found if each.id.startswith(("apikeys", "security"))}
    # The suite has the packages of old keys.
    assert named - set(given["SILENCED_SYSTEM_CHECKS"]) <= {"apikeys.W052"}
    install, commands = blocks(page, "console")
    follow(install)
    assert commands.splitlines() == [
        "python manage.py check --deploy --database default --fail-level WARNING",
        "python manage.py apikeys health",
    ]


def test_health_prints_what_the_page_shows(module):
    page = "docs/how-to/monitor.md"
    plain, as_json = blocks(page, "console")[0].splitlines()
    assert "database" in follow(plain)

    (shown,) = map(json.loads, blocks(page, "json"))
    printed = json.loads(follow(as_json))
    for report in (shown, printed):
        for each in report["checks"]:
            each.pop("milliseconds")
    newest = table("docs/reference/versions.md", "capability")[-1][-1]
    assert shown["version"] == f"{newest}.0"
    assert {**shown, "version": printed["version"]} == printed

    view = module("acme.health", blocks(page, "python")[0]).healthz
    assert view(RequestFactory().get("/")).status_code == 200
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "report", lambda: {"status": "failed"})
        assert view(RequestFactory().get("/")).status_code == 503


def counted(name, **labels):
    return REGISTRY.get_sample_value(f"{name}_total", labels) or 0


def test_prometheus_counts_requests_by_kind_and_refusal(module, client, settings, engine):
    code = blocks("docs/how-to/monitor.md", "python")[1]
    module("acme.metrics", code)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "acme.metrics.count_requests"]
    token, key = mint_pat(), mint_key(engine)
    lifecycle.revoke(key.key)

    for each in (token, key):
        client.get("/api/token/", headers=bearer(each.token))
    client.get("/login/")

    assert counted("apikeys_requests", kind="personal_access_token", code="") == 1
    assert counted("apikeys_requests", kind="none", code="revoked_key") == 1
    assert counted("apikeys_requests", kind="none", code="") == 1
    hook = code.partition("def count_requests")[2].strip().splitlines()
    assert len([line for line in hook if line]) <= 10


def test_prometheus_counts_events_after_their_commit(
    module, engine, django_capture_on_commit_callbacks
):
    module("acme.events", blocks("docs/how-to/monitor.md", "python")[2])
    try:
        with django_capture_on_commit_callbacks() as waiting:
            mint_key(engine)
        assert counted("apikeys_events", event="key_minted") == 0
        for callback in waiting:
            callback()
        assert counted("apikeys_events", event="key_minted") == 1
    finally:
        for name in ("key_minted", "key_revoked", "key_leaked", "key_refused_by_network"):
            assert getattr(signals, name).disconnect(dispatch_uid=f"acme.{name}")


#: What a worker of the site does in its own process, with the code of the page.
WORKER = """
from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory

settings.configure()
{metrics}
count_requests(lambda request: HttpResponse())(RequestFactory().get("/"))
{view}
print(metrics(RequestFactory().get("/metrics/")).content.decode())
"""


@pytest.mark.process
def test_prometheus_gets_the_sum_of_all_workers(tmp_path):
    page = "docs/how-to/monitor.md"
    _, metrics, _, view, *_ = blocks(page, "python")
    start = blocks(page, "console")[2].replace("/run/acme-metrics", str(tmp_path / "metrics"))
    (tmp_path / "worker.py").write_text(WORKER.format(metrics=metrics, view=view))
    run = f"{sys.executable} {tmp_path / 'worker.py'}"

    def printed(script):
        done = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return re.findall(r'^apikeys_requests_total{.*"} (.*)$', done.stdout, re.MULTILINE)

    assert printed(f"{run}\n{run}") == ["1.0", "1.0"]
    assert printed(f"{start}\n{run}\n{run}") == ["1.0", "2.0"]
    assert printed(f"{start}\n{run}") == ["1.0"]  # emptied before each start


def test_prometheus_fetches_the_counters_without_a_login(module, client, settings):
    _, _, _, view, urls, *_ = blocks("docs/how-to/monitor.md", "python")
    module("acme", "")
    module("acme.prometheus", view)
    urlconf = module("acme.urls", f"from django.urls import path\nurlpatterns = []\n{urls}")
    settings.ROOT_URLCONF = urlconf
    middleware = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
    response = client.get("/metrics/")
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain")


def test_a_trace_says_whose_credential_a_request_had(module):
    code = blocks("docs/how-to/monitor.md", "python")[-2]
    tracing = module("acme.tracing", code)
    minted = mint_pat()

    def view(request):
        request.auth = verify(minted.token)
        return "response"

    tracer = TracerProvider().get_tracer("acme")
    with tracer.start_as_current_span("GET /") as span:
        assert tracing.describe_credential(view)(RequestFactory().get("/")) == "response"
    assert dict(span.attributes) == {
        "apikeys.kind": "personal_access_token",
        "apikeys.credential_id": minted.key.public_id,
    }
    assert len([line for line in code.splitlines()[1:] if line]) <= 10


def test_a_log_says_which_key_sent_a_request_and_not_its_query(module, client, settings, caplog):
    code = blocks("docs/how-to/monitor.md", "python")[-1]
    module("acme.requests", code)
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "acme.requests.log_credential"]
    minted = mint_pat()

    with caplog.at_level("INFO", logger="acme.requests"):
        client.get("/api/token/?name=ada", headers=bearer(minted.token))
        client.get("/login/")
        client.get("/api/token/", headers=bearer("acme_pat_wrong"))
    said = [each.getMessage() for each in caplog.records if each.name == "acme.requests"]
    assert said == [f"{minted.key.public_id} GET /api/token/ 200"]
    hook = code.partition("def log_credential")[2].strip().splitlines()
    assert len([line for line in hook if line]) <= 10


def test_what_else_monitoring_types():
    *_, last = blocks("docs/how-to/monitor.md", "console")
    follow(last)
    others = blocks("docs/how-to/monitor.md", "console")[1:-1]
    for line in others[0], others[-1]:
        assert re.fullmatch(r"pip install [a-z -]+\n", line)


@pytest.mark.process
def test_terraform_keeps_the_token_out_of_the_state():
    (described,) = blocks("docs/how-to/workloads.md", "hcl")
    parsed = hcl2.loads(described)
    assert parsed["variable"][0]['"acme_token"']["ephemeral"] is True
    headers = parsed["provider"][0]['"restapi"']["headers"]
    assert headers == {"Authorization": '"Bearer ${var.acme_token}"'}


@pytest.mark.slow
def test_a_signing_key_is_published_before_it_signs(client, settings, monkeypatch):
    fallbacks, swap = blocks("docs/how-to/rotate-secrets.md", "python")
    monkeypatch.setenv("SECRET_KEY", "new")
    monkeypatch.setenv("SECRET_KEY_FALLBACKS", "old older")
    exec(fallbacks, scope := {})
    assert scope["SECRET_KEY_FALLBACKS"] == ["old", "older"]

    now, following = (
        subprocess.run(["openssl", "genrsa", "2048"], capture_output=True, text=True).stdout
        for _ in range(2)
    )
    scope = {
        "OAUTH2_PROVIDER": {**settings.OAUTH2_PROVIDER},
        "signing_key": now,
        "next_signing_key": following,
    }
    exec(swap, scope)
    settings.OAUTH2_PROVIDER = scope["OAUTH2_PROVIDER"]
    answer = client.get("/o/.well-known/jwks.json")
    assert len(answer.json()["keys"]) == 2
    assert "max-age=3600" in answer["Cache-Control"]
    assert "max-age=3600" in " ".join(read("docs/how-to/rotate-secrets.md").split())


def test_troubleshooting_shows_what_arrives_without_the_credential(module):
    page = "docs/how-to/troubleshoot.md"
    view = module("acme.views", blocks(page, "python")[0]).arrived
    text = mint_pat().token
    answer = json.loads(view(RequestFactory().get("/", headers=bearer(text))).content)
    assert answer == {"scheme": "Bearer", "characters": len(text)}

    first, *rest = blocks(page, "console")[0].splitlines()
    assert "personal_access_token" in follow(first, stdin=text)
    follow("\n".join(rest))


# Webhooks, CI, tasks


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((body, self.headers["X-Acme-Signature"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args):
        pass


def test_a_webhook_is_sent_after_the_commit_and_verified(
    module, engine, monkeypatch, django_capture_on_commit_callbacks
):
    send, receive = blocks("docs/how-to/webhooks.md", "python")
    receiver = module("receiver", receive)
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        server.received = []
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("WEBHOOK_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("WEBHOOK_SECRET", "shared")
        webhooks = module("payments.webhooks", send)
        webhooks.connect()
        try:
            with django_capture_on_commit_callbacks(execute=True):
                minted = mint_key(engine)
                assert server.received == []
            ((body, signature),) = server.received
            event = receiver.read_event(body, signature, "shared")
            assert event["event"] == "key.minted"
            assert event["id"] == minted.key.public_id
            assert minted.token.rpartition("_")[2].encode() not in body
            for wrong in [(body + b" ", signature, "shared"), (body, signature, "other")]:
                with pytest.raises(ValueError, match="not sent by Acme"):
                    receiver.read_event(*wrong)
            server.shutdown()
            server.server_close()
            with django_capture_on_commit_callbacks(execute=True):  # nothing listens any more
                lifecycle.revoke(minted.key)
        finally:
            for signal, name in webhooks.EVENTS.items():
                assert signal.disconnect(dispatch_uid=f"payments.{name}")


@pytest.mark.django_db(transaction=True)
def test_a_pipeline_calls_the_api_and_shows_no_key(live_server, engine, tmp_path):
    page = "docs/how-to/use-in-ci.md"
    payments.Payment.objects.create(project=engine, amount=5)
    (mint,) = blocks(page, "console")
    follow(mint)
    github, gitlab = map(yaml.safe_load, blocks(page, "yaml"))
    (step,) = github["jobs"]["report"]["steps"]
    key = mint_key(engine, scopes=["payments:read"]).token
    for script in (step["run"], *gitlab["report"]["script"]):
        done = subprocess.run(
            ["bash", "-exo", "pipefail", "-c", script.replace("project-payments", "payments")],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "ACME_KEY": key, "ACME_URL": live_server.url},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert key not in done.stderr  # `-x` prints the commands
        assert json.loads((tmp_path / "payments.json").read_text())[0]["amount"] == "5.00"
    assert github["permissions"] == {}
    assert key not in step["run"]


@pytest.mark.slow
def test_workloads_paste_what_the_guide_shows(tmp_path, engine, settings):
    page = "docs/how-to/workloads.md"
    site, terraform, program = blocks(page, "python")
    values = {"INSTALLED_APPS": [], "APIKEYS": {}}
    exec(site + terraform, values)
    settings.APIKEYS = {**settings.APIKEYS, **values["APIKEYS"]}
    assert check_workloads() == []
    mint, mint_for_terraform, convert = blocks(page, "console")
    minted = json.loads(follow(f"{mint.strip()} --json"))
    key = ProjectKey.objects.get(public_id=minted["id"])
    shown = {text.label: text.code for text in setups(key)}
    github, gitlab, pod = blocks(page, "yaml")
    assert shown[".github/workflows"].replace(key.public_id, "7k2m4q0x9c1v8b3n") == github
    gitlab_trust = {"issuer": "gitlab", "claims": {"project_id": 1}}
    pod_trust = {"issuer": "kubernetes", "claims": {"sub": "system:serviceaccount:a:b"}}
    lifecycle.edit(key, trust=gitlab_trust)
    (text,) = setups(key)
    assert text.code.replace(key.public_id, "7k2m4q0x9c1v8b3n") == gitlab
    lifecycle.edit(key, trust=pod_trust)
    assert setups(key)[0].code == pod
    for each in (github, gitlab, pod):
        assert yaml.safe_load(each)
    stored = mint_key(engine).key
    follow(convert.replace(" ID ", f" {stored.public_id} "))
    stored.refresh_from_db()
    assert stored.trust
    exec(program, values)
    assert values["client"].auth is values["auth"]
    minted = json.loads(follow(f"{mint_for_terraform.strip()} --json"))
    trust = json.loads(ProjectKey.objects.get(public_id=minted["id"]).trust)
    assert trust["issuer"] == "https://app.terraform.io"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_job_without_a_secret_gets_a_token_or_the_code_of_the_refusal(
    live_server, engine, tmp_path, settings
):
    settings.APIKEYS = {**settings.APIKEYS, **issuer.SETTINGS}
    key = lifecycle.mint(project=engine, name="ci", scopes=["payments:read"], trust=issuer.TRUST)
    github, gitlab, _ = map(yaml.safe_load, blocks("docs/how-to/workloads.md", "yaml"))
    (step,) = github["steps"]
    (script,) = gitlab["deploy"]["script"]
    assert step["shell"] == "bash"
    given = tmp_path / "given.json"

    def run(script, **claims):
        text = issuer.GITHUB.token(**claims)
        given.write_text(json.dumps({"value": text}))
        for shown, meant in [
            ("https://acme.example/", f"{live_server.url}/"),
            ("7k2m4q0x9c1v8b3n", key.key.public_id),
        ]:
            script = script.replace(shown, meant)
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            env={
                "PATH": os.environ["PATH"],
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x",
                "ACTIONS_ID_TOKEN_REQUEST_URL": f"file://{given}?api-version=2",
                "GITHUB_ENV": str(tmp_path / "env"),
                "ID_TOKEN": text,
            },
            capture_output=True,
            text=True,
        )

    for each in (step["run"], f"{script}\nprintenv ACME_TOKEN"):
        done = run(each)
        assert done.returncode == 0, done.stderr
        token = done.stdout.strip().removeprefix("::add-mask::")
        found = httpx.get(f"{live_server.url}/api/token/", headers=bearer(token))
        assert found.json()["client"] == key.key.public_id
        refused = run(each, repository_id="1")
        assert refused.returncode != 0
        assert "workload_not_trusted" in refused.stderr
        assert not refused.stdout
    assert (tmp_path / "env").read_text().startswith("ACME_TOKEN=")


# Logins by others


def check(folder, page, code="", **environment):
    """Run Django's checks in a project with the settings, and the URLs if any, of a page.

    ``code`` takes the place of the first block.
    """
    page_settings, *more = blocks(page, "python")
    page_settings = code or page_settings
    (folder / "page_settings.py").write_text(
        "from tests.settings import *\nINSTALLED_APPS = [*INSTALLED_APPS]\n"
        f"APIKEYS = {{**APIKEYS}}\n{page_settings}\nROOT_URLCONF = 'page_urls'\n"
    )
    urls = next((code for code in more if "urls.py" in code), "from allauth import urls\n")
    (folder / "page_urls.py").write_text(
        f"from example_project.urls import *\nfrom django.urls import include, path\n{urls}"
    )
    environment |= {"PYTHONPATH": str(folder), "DJANGO_SETTINGS_MODULE": "page_settings"}
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.process
def test_the_settings_for_allauth_pass_their_checks(tmp_path):
    page = "docs/how-to/allauth.md"
    done = check(tmp_path, page)
    assert done.returncode == 0, done.stderr
    follow(blocks(page, "console")[0])


@pytest.mark.process
def test_the_settings_for_identity_providers_pass_their_checks(tmp_path):
    page = "docs/how-to/identity-providers.md"
    install, *others = blocks(page, "python")
    assert "apikeys.issuers" in install  # which the suite has installed
    found = [code for code in others if "SOCIALACCOUNT" in code]
    assert len(found) == 1
    found.append("ISSUERS = {}")
    for path in (ROOT / "docs/how-to/identity-providers").glob("*.md"):
        for code in blocks(str(path.relative_to(ROOT)), "python"):
            found += [code, "ISSUERS |= APIKEYS['ISSUERS']"]
    done = check(
        tmp_path,
        page,
        "\n".join([*found, "assert len(ISSUERS) == 7", "APIKEYS['ISSUERS'] = ISSUERS"]),
        OIDC_CLIENT_ID="acme",
        OIDC_CLIENT_SECRET="none",
    )
    assert done.returncode == 0, done.stderr


def test_offboarding_ends_every_token_of_a_user(module, ada):
    code = blocks("docs/how-to/identity-providers.md", "python")[-1]
    offboarding = module("acme.offboarding", code)
    minted = mint_pat(ada)
    offboarding.offboard("ada")
    with pytest.raises(Refused, match="inactive_user"):
        verify(minted.token)


# Reference


def test_the_view_of_the_comparison_takes_a_key():
    exec(blocks("docs/reference/compare.md", "python")[0], scope := {})
    view = scope["Payments"].as_view()
    request = APIRequestFactory().get("/", headers=bearer(mint_pat().token))
    assert view(request).status_code == 200
    assert view(APIRequestFactory().get("/")).status_code == 401


def test_every_kind_has_the_same_access():
    minted = mint_pat(scopes=["payments:read"])
    (code,) = blocks("docs/reference/glossary.md", "python")
    exec(code, {"token": minted.token, "ada": minted.key.user})


def test_every_term_is_in_alphabetical_order_and_explained():
    rows = table("docs/reference/glossary.md", "term")
    terms = [term.lower() for term, _ in rows]
    assert terms == sorted(terms)
    assert all(meaning.endswith(".") for _, meaning in rows)


def questions():
    sections = re.split(r"^## ", read("docs/reference/faq.md"), flags=re.MULTILINE)[1:]
    return [each.partition("```")[0].strip().split("\n\n") for each in sections]


def test_seventeen_questions_have_two_sentences_and_a_link():
    assert len(questions()) == 17
    for question, answer in questions():
        assert question.endswith("?")
        plain = re.sub(r"\[[^]]*\]\([^)]*\)", "LINK", " ".join(answer.split()))
        sentences = re.split(r"(?<=[.?!]) ", re.sub(r"`[^`]*`", "CODE", plain))
        assert len(sentences) == 2, (question, sentences)
        assert "LINK" in plain, question


def test_the_commands_of_the_questions(engine, ada):
    read_only, unused, limit = blocks("docs/reference/faq.md", "console")
    follow(read_only)
    follow(limit)
    old, used = mint_pat(ada).key, mint_pat(ada).key
    PersonalAccessToken.objects.update(created_at=timezone.now() - timedelta(days=91))
    PersonalAccessToken.objects.filter(pk=used.pk).update(last_used_at=timezone.now())

    show, revoke = unused.splitlines()
    assert old.public_id in follow(show)
    follow(revoke)
    old.refresh_from_db()
    assert old.revoked_reason == "Unused for 90 days."
    used.refresh_from_db()
    assert used.revoked_at is None


def test_a_time_stamp_adds_little():
    exec(blocks("docs/reference/faq.md", "python")[0], {})


@pytest.mark.slow
def test_a_project_admin_sees_the_personal_tokens_that_reach_the_project(client, ada, engine):
    """As the FAQ says: on one page of the project, and never the page of the token."""
    member = MembershipFactory(project=engine, role="developer").user
    token = mint_pat(member, name="their own").key
    mint_pat(name="of a stranger")
    admin = mint_pat(ada, scopes=["payments:read"])
    client.force_login(ada)
    page = "/settings/keys/projects/analytical-engine/"
    assert "their own" in client.get(f"{page}access/").text
    assert "of a stranger" not in client.get(f"{page}access/").text
    assert "their own" not in client.get(page).text
    assert client.get(f"/settings/keys/{token.public_id}/").status_code == 404
    with pytest.raises(CommandError):
        call_command("apikeys", "show", admin.token)


def test_the_versions_are_those_of_the_package():
    declared = (ROOT / "pyproject.toml").read_text("utf-8")
    rows = {name: words for name, words, _ in table("docs/reference/versions.md", "software")}
    for name, classifier in [
        ("Python", r"Programming Language :: Python :: (3\.\d+)"),
        ("Django", r"Framework :: Django :: (\d\.\d)\""),
    ]:
        listed = re.findall(r"(?<![\d.])\d\.\d+(?!\.)", rows[name])
        assert listed == re.findall(classifier, declared)


def test_every_deprecated_module_still_exists():
    deprecated = table("docs/reference/versions.md", "deprecated")
    assert deprecated
    for name, instead, since, removed in deprecated:
        assert find_spec(name.strip("`"))
        assert find_spec(instead.strip("`"))
        assert re.fullmatch(r"1\.\d+", since)
        assert removed == "2.0"
