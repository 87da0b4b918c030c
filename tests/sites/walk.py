"""Walk through one site over real HTTP: ``SITE=… SITE_FOLDER=… python -m tests.sites.walk``.

Fails at the first step that does not work. Prints the steps. A site with a folder of its own has
a module ``steps`` there, whose functions ``migrate``, ``make_project`` and ``walk`` this module
calls if they exist.
"""

import importlib
import io
import json
import os
import re
import socket
import threading
from pathlib import Path
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import django
import httpx

SITE, FOLDER = os.environ["SITE"], Path(os.environ["SITE_FOLDER"])
PREFIX = "/acme" if SITE == "sub-path" else ""
PASSWORD = "a-password-of-adas"
SETTINGS = os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.sites.settings")

(FOLDER / "site_migrations").mkdir(exist_ok=True)
(FOLDER / "site_migrations" / "__init__.py").touch()
(FOLDER / "base.html").write_text("<h1>Acme</h1>{% block content %}{% endblock %}")
django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.utils.module_loading import import_string  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402

from apikeys import usage  # noqa: E402
from apikeys.models import KEY_MODELS, Membership, get_project_model  # noqa: E402

HAS_FOLDER = SETTINGS != "tests.sites.settings"
STEPS = importlib.import_module(SETTINGS.replace(".settings", ".steps")) if HAS_FOLDER else None


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


class Site(NamedTuple):
    """What the steps of one site use."""

    url: str
    browser: httpx.Client

    def command(self, *words: str, **options: Any) -> str:
        return command(*words, **options)

    def mint(self, *words: str) -> tuple[str, str]:
        return mint(*words)

    def program(self, *words: str) -> httpx.Client:
        """Return a client with a new credential: of ``--user ada``, for example."""
        headers = {"Authorization": f"Bearer {mint(*words)[1]}"}
        return httpx.Client(base_url=self.url, headers=headers)


def command(*words, **options):
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=out, **options)
    return out.getvalue()


def step(name):
    print(name, flush=True)


def serve():
    if hasattr(settings, "ASGI_APPLICATION"):
        return serve_asgi()
    application = get_wsgi_application()

    def mounted(environ, start_response):
        if PREFIX:
            environ["SCRIPT_NAME"] = PREFIX
            environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(PREFIX)
        return application(environ, start_response)

    server = WSGIServer(("127.0.0.1", 0), Quiet)
    server.set_app(mounted)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}{PREFIX}"


def serve_asgi():
    import uvicorn

    application = import_string(settings.ASGI_APPLICATION)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning"))
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def prepare():
    step("migrate")
    own = [app for app, place in settings.MIGRATION_MODULES.items() if place == "site_migrations"]
    if own:
        command("makemigrations", *own, verbosity=0)
    getattr(STEPS, "migrate", command)("migrate", verbosity=0)
    step("check")
    assert "no issues" in command("check", fail_level="WARNING")
    command("check", databases=["default"], fail_level="WARNING")
    assert "No changes" in command("makemigrations", "apikeys", check=True, dry_run=True)

    name = "ada@example.com" if SITE == "email-login" else "ada"
    user = get_user_model().objects.create_superuser(name, password=PASSWORD)
    if hasattr(STEPS, "make_project"):
        STEPS.make_project(user)
    else:
        project = get_project_model().objects.create(slug="engine")
        Membership.objects.create(user=user, project=project, role="owner")
    old = Token.objects.create(user=user).key
    return name, old


def mint(*owner):
    words = ("--name", "server", "--scope", "api:read", "--scope", "keys:read", "--json")
    made = json.loads(command("apikeys", "mint", *owner, *words))
    return made["id"], made["token"]


def sends(url, token, scheme="Bearer"):
    answer = httpx.get(url, headers={"Authorization": f"{scheme} {token}"})
    assert "private" in answer.headers["Cache-Control"] or answer.status_code >= 400
    return answer.status_code


def walk_views(url, made):
    step("views with each kind of credential")
    for key_id, token in made:
        for path in ("/api/who/", "/api/plain/"):
            headers = {"Authorization": f"Bearer {token}"}
            for _ in range(2):  # a cache must not answer another caller
                answer = httpx.get(url + path, headers=headers)
                assert (answer.status_code, answer.json()["id"]) == (200, key_id), path
            assert httpx.get(url + path).status_code == 401
            assert sends(url + path, token[:-1] + "~") == 401
    step("JSON API")
    for key_id, token in made:
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{url}/api/token/", headers=headers).json()["id"] == key_id
    answer = httpx.get(f"{url}/api/tokens/", headers={"Authorization": f"Bearer {made[0][1]}"})
    assert made[0][0] in answer.text, answer.text


def log_in(url, name):
    browser = httpx.Client(follow_redirects=True)
    page = f"{url}/settings/keys/"
    form = browser.get(page)
    assert form.url.path == settings.LOGIN_URL, form.url
    data = {
        "username": name,
        "login": name,
        "password": PASSWORD,
        "next": f"{PREFIX}/settings/keys/",
    }
    data["csrfmiddlewaretoken"] = field(form, "csrfmiddlewaretoken")
    answer = browser.post(str(form.url), data=data)
    assert (answer.status_code, answer.url.path) == (200, f"{PREFIX}/settings/keys/"), answer.text
    return browser


def field(page, name):
    found = re.search(rf'name="{name}" value="([^"]+)"', page.text)
    assert found, (page.status_code, page.text[:500])
    return found[1]


def walk_pages(url, browser):
    step("pages with a session")
    places = {
        f"{url}/settings/keys/": {"reach": "all"},
        f"{url}/settings/keys/projects/engine/": {},
    }
    for place, more in places.items():
        assert browser.get(place).status_code == 200
        form = browser.get(f"{place}new/")
        data = {"name": "by hand", "expiry": "30", "scopes:api": "api:read", "step": "make"} | more
        data |= {name: field(form, name) for name in ("csrfmiddlewaretoken", "once")}
        made = browser.post(f"{place}new/", data=data)
        (token,) = set(re.findall(r"acme_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}", made.text))
        if SITE == "base-template":
            assert made.text.startswith("<h1>Acme</h1>")
        assert sends(f"{url}/api/who/", token) == 200
        key = f"{place}{token[9:25]}/"
        for path in ("", "edit/", "rotate/", "revoke/"):
            assert browser.get(key + path).status_code == 200, path
        assert browser.get(f"{place}activity/").status_code == 200
        data = {"csrfmiddlewaretoken": field(browser.get(f"{key}revoke/"), "csrfmiddlewaretoken")}
        assert browser.post(f"{key}revoke/", data=data).status_code == 200
        assert sends(f"{url}/api/who/", token) == 401


def walk_admin(url, browser):
    step("admin")
    for model in KEY_MODELS.values():
        name = model._meta.model_name
        assert browser.get(f"{url}/admin/apikeys/{name}/").status_code == 200
        row = model.objects.first()
        assert browser.get(f"{url}/admin/apikeys/{name}/{row.pk}/change/").status_code == 200
    assert browser.get(f"{url}/admin/apikeys/auditevent/").status_code == 200


def walk_commands(url, made):
    step("rotate, revoke and notify")
    for key_id, token in made:
        rotated = json.loads(command("apikeys", "rotate", key_id, "--overlap", "1h", "--json"))
        assert [sends(f"{url}/api/who/", each) for each in (token, rotated["token"])] == [200, 200]
        command("apikeys", "revoke", rotated["id"], "--reason", "Lost.")
        assert sends(f"{url}/api/who/", rotated["token"]) == 401
    command("apikeys", "notify")
    command("apikeys", "list")
    usage.flush()


def walk_import(url, old):
    step("import")
    assert sends(f"{url}/api/who/", old, "Token") == 401
    command("apikeys", "import", "--from", "authtoken", "--scope", "api:read")
    assert sends(f"{url}/api/who/", old, "Token") == 200


def main():
    name, old = prepare()
    step("create by command")
    made = [mint("--user", name), mint("--project", "engine")]
    url = serve()
    walk_views(url, made)
    browser = log_in(url, name)
    walk_pages(url, browser)
    walk_admin(url, browser)
    walk_commands(url, made)
    walk_import(url, old)
    if hasattr(STEPS, "walk"):
        step("views of its own")
        STEPS.walk(Site(url, browser))
    if SITE == "own-project":
        step("hide the project")
        get_project_model().objects.update(hidden=True)
        _, token = made[1]
        assert sends(f"{url}/api/who/", token) == 401
    step("done")


if __name__ == "__main__":
    main()
