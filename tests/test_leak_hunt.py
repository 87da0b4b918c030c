"""The leak hunt: keys live their whole life on every surface, and no secret is left anywhere.

What is searched is all that stays or is sent to somebody else: the database, sessions, cache,
mails, log records, the admin's history, and every answer but the one that shows a secret.
"""

import base64
import io
import json
import logging
import pickle
import re
import traceback
from contextlib import suppress

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, override_settings
from django.urls import include, path

from apikeys import lifecycle, usage
from apikeys.error_reports import RedactKeys
from apikeys.mail import deadlines
from apikeys.models import KEY_MODELS, AuditEvent, PersonalAccessToken, ProjectKey
from tests.admin.conftest import KEYS as ADMIN_KEYS
from tests.admin.conftest import TOKENS as ADMIN_TOKENS
from tests.admin.conftest import mint_form
from tests.factories import MembershipFactory, bearer, mint_key, mint_pat
from tests.tiers import long
from tests.web.conftest import KEYS, TOKENS, open_form

_KEY = re.compile(r"acme_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}")

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


def fail(request):
    """A view of somebody's that fails with a key in its hands."""
    header = request.headers.get("Authorization", "")
    held = {"header": header, "bytes": [header.encode() * 30], "parts": header.split("_")}
    raise RuntimeError(f"Could not serve {header} of {len(held)}")


urlpatterns = [path("fail/", fail), path("", include("tests.urls"))]


class Hunt:
    """Remembers all secrets, and all that was said to anybody."""

    def __init__(self):
        self.client = Client(raise_request_exception=False)
        self.tokens, self.said = [], []
        self.log = io.StringIO()
        self.requests = self.commands = 0

    def __call__(self, method, url, data=None, *, shows=False, by=None, **kwargs):
        """A request; ``shows`` is whether its answer is the one that shows a new secret."""
        self.requests += 1
        client = by or self.client
        response = getattr(client, method)(url, data, **kwargs)
        body = b"".join(response) if response.streaming else response.content
        text = body.decode()
        if shows:
            (new,) = set(_KEY.findall(text)) - set(self.tokens)
            self.tokens.append(new)
            text = text.replace(new, "")
        self.said.append(f"{response.status_code} {response.headers} {response.cookies} {text}")
        return response

    def command(self, *arguments, shows=False):
        self.commands += 1
        out, err = io.StringIO(), io.StringIO()
        try:
            call_command("apikeys", *arguments, stdout=out, stderr=err)
        except (CommandError, SystemExit):
            self.said.append(traceback.format_exc(chain=False))
        text = out.getvalue()
        if shows:
            self.tokens.append(json.loads(text)["token"])
            text = text.replace(self.tokens[-1], "")
        self.said.append(text + err.getvalue())

    def places(self):
        """All that is searched, by what it is."""
        with connection.cursor() as cursor:
            rows = []
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                rows.append(f"{table}: {cursor.fetchall()!r}")
        return {
            "database": "\n".join(rows),
            "sessions": repr([session.get_decoded() for session in Session.objects.all()]),
            "cache": repr([pickle.loads(value) for value in cache._cache.values()]),
            "mails": "\n".join(str(message.message()) for message in mail.outbox),
            "log": self.log.getvalue(),
            "answers": "\n".join(self.said),
        }


@pytest.fixture
def hunt(settings):
    settings.ROOT_URLCONF = "tests.test_leak_hunt"
    settings.DEMO = True
    settings.DEFAULT_EXCEPTION_REPORTER = "apikeys.error_reports.ExceptionReporter"
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = "apikeys.error_reports.SafeExceptionReporterFilter"
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.ADMINS = [("Root", "root@example.com")]
    settings.CURL_URL = "/api/token/"
    cache.clear()
    usage._pending.clear()
    hunt = Hunt()
    handler = logging.StreamHandler(hunt.log)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    handler.addFilter(RedactKeys())
    root, level = logging.getLogger(), logging.getLogger().level
    # With every logger's records, SQL included.
    loggers = [logging.getLogger(name) for name in ("django", "django.db.backends", "apikeys")]
    kept = [(each, each.level, each.propagate) for each in loggers]
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for each in loggers:
        each.setLevel(logging.DEBUG)
        each.propagate = True
    yield hunt
    root.removeHandler(handler)
    root.setLevel(level)
    for each, level, propagate in kept:
        each.setLevel(level)
        each.propagate = propagate


@pytest.fixture
def admin(hunt):
    member = MembershipFactory(
        user__username="ada",
        user__email="ada@example.com",
        user__is_staff=True,
        user__is_superuser=True,
        project__slug="analytical-engine",
        role="owner",
    )
    hunt.client.force_login(member.user)
    return member.user


def on_the_pages(hunt, admin, rounds):
    form = {"name": "page", "expiry": "30", "scopes:payments": "payments:read"}
    for url, more in ((TOKENS, {"reach": "all"}), (KEYS, {})):
        for _ in range(rounds):
            once = open_form(hunt.client, url)
            hunt("post", f"{url}new/", form | more | once, shows=True)
            hunt("post", f"{url}new/", form | more | once)  # sent twice
            text = hunt.tokens[-1]
            public_id = text.split("_")[2]
            rotation = {"overlap": "3600", "expiry": "keep"}
            hunt("post", f"{url}{public_id}/rotate/", rotation, shows=True)
            for page in ("", f"{public_id}/", f"{public_id}/edit/", "activity/"):
                hunt("get", url + page)
            hunt("post", f"{url}new/", form | more | open_form(hunt.client, url) | {"name": text})
            hunt("post", f"{url}{public_id}/revoke/", {"reason": text})
            hunt("get", f"{url}activity/?format=csv")
            hunt("get", f"{url}activity/?key={text}")
            wrong = {
                "name": text,
                "description": text,
                "allowed_networks": text,
                "rate_limits": text,
                "reach": text,
            }
            hunt("post", f"{url}new/", form | more | wrong)
            long_ago = Client(raise_request_exception=False)
            long_ago.force_login(admin)
            session = long_ago.session
            for name in filter(lambda name: name.startswith("apikeys"), list(session.keys())):
                del session[name]
            session.save()
            hunt("post", f"{url}new/", form | more | {"name": text}, by=long_ago)
            assert "apikeys_draft" in long_ago.session


def in_the_admin(hunt, admin, rounds):
    project = ProjectKey._meta.get_field("project").related_model.objects.get()
    for url, owner in ((ADMIN_TOKENS, {"user": admin.pk}), (ADMIN_KEYS, {"project": project.pk})):
        for _ in range(rounds):
            form = mint_form(name="admin", **owner)
            hunt("post", f"{url}add/", form, shows=True)
            text = hunt.tokens[-1]
            model = KEY_MODELS[text.split("_")[1]]
            key = model.objects.get(public_id=text.split("_")[2])
            hunt("get", f"{url}{key.pk}/change/")
            hunt("post", f"{url}{key.pk}/change/", mint_form(name=text))
            hunt("post", f"{url}{key.pk}/change/", mint_form(name="renamed"))
            hunt("post", f"{url}add/", form | {"name": text})
            hunt("get", url, {"q": text})
            hunt("post", f"{url}find/", {"key": text})
            hunt("post", f"{url}{key.pk}/rotate/", {"overlap": "3600"})
            hunt("post", f"{url}{key.pk}/revoke/", {"reason": text})
            hunt("get", f"{url}{key.pk}/history/")
    hunt("get", "/admin/apikeys/auditevent/")


def over_the_api(hunt, admin, rounds):
    scopes = ["payments:read", "keys:read", "keys:write"]
    for url in ("/api/tokens/", "/api/projects/analytical-engine/keys/"):
        for n in range(rounds):
            body = {"name": "api", "scopes": scopes}
            headers = {"Idempotency-Key": f"{url}{n}"}
            json_ = {"content_type": "application/json"}
            hunt("post", url, json.dumps(body), headers=headers, shows=True, **json_)
            hunt("post", url, json.dumps(body), headers=headers, **json_)
            text = hunt.tokens[-1]
            public_id = text.split("_")[2]
            as_key = {"by": Client(raise_request_exception=False), "headers": bearer(text)}
            hunt("post", f"{url}{public_id}/rotate/", "{}", shows=True, **as_key, **json_)
            for path_ in (f"{url}{public_id}/", f"{url}audit/", url, "/api/token/"):
                hunt("get", path_, **as_key)
            for wrong in (
                {"name": text, "scopes": scopes}, {text: text}, {"name": "x", "scopes": [text]},
                body | {"allowed_networks": [text]}, body | {"rate_limits": [text[26:]]},
                body | {"expires_at": text}, body | {"projects": [text]},
                body | {"description": text},
            ):  # fmt: skip
                hunt("post", url, json.dumps(wrong), **as_key, **json_)
            hunt("post", url, f'{{"name": {text}', **as_key, **json_)
            hunt("get", f"{url}{text}/", **as_key)
            hunt("delete", f"{url}{public_id}/?reason={text}", **as_key)


def by_the_command(hunt, monkeypatch, rounds):
    scope = ("--name", "command", "--scope", "payments:read", "--json")
    for owner in (("--user", "ada"), ("--project", "analytical-engine")):
        for _ in range(rounds):
            hunt.command("mint", *owner, *scope, shows=True)
            text = hunt.tokens[-1]
            public_id = text.split("_")[2]
            monkeypatch.setattr("sys.stdin", io.StringIO(text))
            hunt.command("verify", "--json")
            hunt.command("rotate", public_id, "--json", shows=True)
            for wrong in (
                ("verify", text), ("show", text), ("revoke", text), ("mint", "--name", text),
                ("mint", *owner, "--name", text[26:], "--scope", text, "--json"),
                ("audit", "--key", text), (text,), ("list", "--user", text),
            ):  # fmt: skip
                hunt.command(*wrong)
            for right in (("list", "--json"), ("show", public_id), ("audit", "--format", "jsonl")):
                hunt.command(*right)


def everywhere(hunt):
    """Each key as a credential where it belongs, and where it does not."""
    anybody = Client(raise_request_exception=False)
    for n, text in enumerate(list(hunt.tokens)):
        # pytest-django's ``settings`` would wrap the settings once more for each key.
        with override_settings(DEBUG=bool(n % 2)):
            as_a_credential(hunt, text, anybody)
            if n % 5 == 0:
                body = json.dumps({"tokens": [text, text[:-1]]})
                hunt("post", "/api/leaked/", body, content_type="application/json", by=anybody)


def as_a_credential(hunt, text, anybody):
    as_key = {"headers": bearer(text), "by": anybody}
    hunt("get", "/api/token/", **as_key)
    hunt("get", "/api/payments/", **as_key)
    hunt("get", "/fail/", **as_key)
    hunt("post", "/fail/", {"key": text}, **as_key)
    hunt("get", "/api/token/", headers={"Authorization": f"Bearer {text} {text}"}, by=anybody)
    hunt("get", "/api/token/", headers={"Authorization": f"Token {text}"}, by=anybody)
    hunt("get", "/api/token/", headers=bearer(text[:-1]), by=anybody)
    hunt("post", "/o/token/", {"grant_type": "password", "password": text}, by=anybody)
    header = "Basic " + base64.b64encode(f"{text[9:25]}:{text}".encode()).decode()
    form = {"grant_type": "client_credentials"}
    hunt("post", "/o/token/", form, headers={"Authorization": header}, by=anybody)
    hunt("post", "/o/introspect/", {"token": text}, **as_key)
    if not settings.DEBUG:  # Django's debug page of a 404 has the address that was asked for
        hunt("get", f"/api/nowhere/{text}/?key={text}", by=anybody)
    hunt("post", "/o/revoke_token/", {"token": text}, by=anybody)


def forms_of(text):
    secret = text[26:69]
    encoded = base64.b64encode(text.encode()).decode()
    return {secret, secret[:24], secret[-24:], secret.encode().hex(), encoded[8:-8]}


@pytest.mark.parametrize("rounds", [1, long(4)])
def test_no_secret_is_left_anywhere(
    hunt, admin, monkeypatch, django_capture_on_commit_callbacks, record_property, rounds
):
    with django_capture_on_commit_callbacks(execute=True):
        on_the_pages(hunt, admin, rounds)
        in_the_admin(hunt, admin, rounds)
        over_the_api(hunt, admin, rounds)
        by_the_command(hunt, monkeypatch, rounds)
        for _ in range(2):
            for minted in (mint_pat(admin), mint_key(ProjectKey.objects.first().project)):
                hunt.tokens += [minted.token, lifecycle.rotate(minted.key).token]
        everywhere(hunt)
        usage.flush()
        deadlines.notify()

    places = hunt.places()
    hits = [
        (place, content[max(0, content.find(form) - 200) :][:250])
        for text in hunt.tokens
        for place, content in places.items()
        for form in forms_of(text)
        if form in content
    ]
    assert hits == []

    # It searched what there was: every key is known there by its id, and much was tried.
    assert len(hunt.tokens) >= 12 * rounds
    assert len({text.split("_")[2] for text in hunt.tokens}) == len(hunt.tokens)
    assert {text.split("_")[1] for text in hunt.tokens} == {"pat", "key"}
    for text in hunt.tokens:
        assert text.split("_")[2] in places["database"]
    stored = PersonalAccessToken.objects.count() + ProjectKey.objects.count()
    assert stored == len(hunt.tokens)
    assert {"minted", "rotated", "revoked", "first_used", "leaked"} <= set(
        AuditEvent.objects.values_list("event", flat=True)
    )
    assert "django_admin_log" in places["database"]
    assert "[redacted]" in places["log"]
    assert "of ada was created" in places["mails"]
    with suppress(AttributeError):
        print(
            f"\n{len(hunt.tokens)} keys, {hunt.requests} requests, {hunt.commands} commands, "
            f"{sum(map(len, places.values())):,} characters searched: "
            + ", ".join(f"{name} {len(text):,}" for name, text in places.items())
        )
