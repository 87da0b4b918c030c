"""Add apikeys to public applications from the package index, as the docs say that it works."""

import json
import sys
from pathlib import Path

import httpx
import pytest

from tests.documents import table
from tests.servers import running

from .building import Application, ApplicationServer, Site, build, build_wheel, install

APPLICATIONS = [
    Application(
        name="wagtail",
        title="Wagtail 8.0, by `wagtail start`, with its API",
        version="8.0.1",
        settings="acme.settings.dev",
        start=["{bin}/wagtail", "start", "acme", "{site}"],
        scheme="Token",
        user="ada",
        stranger_user="eve",
        path="/api/v2/pages/",
        scope="pages:read",
        other_scope="media:read",
        stranger=200,
        pages="/settings/keys/",
        login="/admin/login/",
    ),
    Application(
        name="bugsink",
        title="Bugsink 2.6",
        version="2.6.2",
        settings="bugsink_conf",
        start=[
            "{bin}/bugsink-create-conf",
            *("--template", "singleserver", "--host", "127.0.0.1", "--base-dir", "."),
        ],
        scheme="Bearer",
        user="ada",
        stranger_user="eve",
        path="/api/canonical/0/projects/1/",
        scope="projects:read",
        other_scope="issues:read",
        stranger=403,
        pages="/accounts/keys/",
        login="/accounts/login/",
    ),
    Application(
        name="pretix",
        title="pretix 2026.8",
        version="2026.8.0",
        settings="acme.settings",
        environment={
            "DATA_DIR": "data",
            "PRETIX_DJANGO_DEBUG": "false",
            "PRETIX_PRETIX_URL": "http://127.0.0.1",
        },
        scheme="Token",
        user="ada@example.com",
        stranger_user="eve@example.com",
        path="/api/v1/organizers/engine/events/fair/",
        scope="events:read",
        other_scope="orders:read",
        stranger=403,
        pages="/control/settings/keys/",
        login="/control/login",
    ),
]
by_name = pytest.mark.parametrize("application", APPLICATIONS, ids=lambda each: each.name)


class Caller:
    """Calls a running site."""

    def __init__(self, site: Site, port: int) -> None:
        self.site = site
        self.url = f"http://127.0.0.1:{port}"

    def get(self, text: str = "", scheme: str = "Bearer", path: str = "") -> httpx.Response:
        headers = {"Authorization": f"{scheme} {text}"} if text else {}
        path = path or self.site.application.path
        return httpx.get(self.url + path, headers=headers, timeout=60)

    def old(self, text: str) -> int:
        return self.get(text, self.site.application.scheme).status_code

    def mint(self, *words: str) -> tuple[str, str]:
        """Create a key by command. Return its ID and its text."""
        made = json.loads(self.site.manage("apikeys", "mint", "--name", "new", "--json", *words))
        return made["id"], made["token"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def site(application, request, tmp_path):
    cache = request.config.cache.mkdir(f"application-{application.name}")
    return build(application, cache, tmp_path / "site")


def add_apikeys(site: Site, wheel: Path) -> None:
    """Install the wheel, apply the patch, migrate and check."""
    assert "no issues" in site.manage("check")
    installed = site.packages()
    install(site.python, wheel)
    assert installed <= site.packages(), "It replaced a package of the application."
    site.apply(site.application.patch)
    site.manage("migrate", "--verbosity", "0")
    assert "no issues" in site.manage("check")
    site.manage("makemigrations", "apikeys", "--check", "--dry-run")
    found = site.run(site.python, "-c", "import apikeys; print(apikeys.__file__)")
    assert str(site.bin.parent) in found


@pytest.mark.long
@by_name
def test_old_and_new_tokens_call_the_api(application, site, wheel, tmp_path):
    old = site.tokens("create")
    with running(ApplicationServer(site, tmp_path)) as server:
        caller = Caller(site, server.port)
        assert caller.old(old) == 200
        refused = caller.get().status_code
        assert refused in (401, 403)

    add_apikeys(site, wheel)
    with running(ApplicationServer(site, tmp_path)) as server:
        caller = Caller(site, server.port)
        assert caller.old(old) == 200
        assert caller.get().status_code in (401, refused)

        key_id, key = caller.mint("--user", application.user, "--scope", application.scope)
        answer = caller.get(key)
        assert answer.status_code == 200, answer.text
        assert "private" in answer.headers["Cache-Control"]
        _, other = caller.mint("--user", application.user, "--scope", application.other_scope)
        assert caller.get(other).status_code == 403
        _, strangers = caller.mint(
            "--user", application.stranger_user, "--scope", application.scope
        )
        assert caller.get(strangers).status_code == application.stranger
        assert caller.get(key[:-1] + "~").status_code == 401

        site.manage("apikeys", "revoke", key_id, "--reason", "A test.")
        answer = caller.get(key)
        assert (answer.status_code, answer.json()["code"]) == (401, "revoked_key")

        page = caller.get(path=application.pages)
        assert page.status_code == 302
        assert page.headers["Location"].startswith(application.login)

        FURTHER.get(application.name, lambda caller: None)(caller)
        assert caller.old(old) == 200
        site.tokens("end")
        assert caller.old(old) == 401


def check_projects(caller: Caller) -> None:
    """Check that keys of one project of Bugsink reach this project only, and end with it."""
    mine = caller.site.application.path
    other = mine.replace("1", "2")
    for owner in (("--project", "engine"), ("--user", "ada", "--project", "engine")):
        _, key = caller.mint(*owner, "--scope", "projects:read")
        assert [caller.get(key, path=path).status_code for path in (mine, other)] == [200, 403]
        projects = caller.get(key, path="/api/canonical/0/projects/").json()["results"]
        assert [each["slug"] for each in projects] == ["engine"]
    both = ("--project", "engine", "--project", "other")
    _, key = caller.mint("--user", "ada", *both, "--scope", "projects:read")
    assert caller.get(key).status_code == 401

    owners = ("--project", "other"), ("--user", "ada", "--project", "other")
    keys = [caller.mint(*owner, "--scope", "projects:read")[1] for owner in owners]
    assert [caller.get(key, path=other).status_code for key in keys] == [200, 200]
    caller.site.tokens("delete")  # Bugsink walks through all tables that refer to the project
    assert [caller.get(key, path=other).status_code for key in keys] == [401, 401]


def check_teams(caller: Caller) -> None:
    """Check that a key of pretix cannot read or create the tokens of teams."""
    scopes = [word for scope in ("events", "orders") for word in ("--scope", f"{scope}:write")]
    _, key = caller.mint("--user", "ada@example.com", *scopes)
    assert caller.get(key).status_code == 200
    answer = caller.get(key, path="/api/v1/organizers/engine/teams/1/tokens/")
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_not_declared")


FURTHER = {"bugsink": check_projects, "pretix": check_teams}


@by_name
def test_the_docs_state_the_version_and_the_lines_of_the_patch(application):
    rows = {row[0]: row[1] for row in table("docs/how-to/into-an-existing-site.md", "application")}

    assert rows[application.title] == str(application.lines())
    assert len(rows) == len(APPLICATIONS)
    number = application.title.split(",")[0].split()[-1]
    assert f"{application.version}.".startswith(f"{number}.")


@pytest.mark.packaging
def test_an_index_that_cannot_be_reached_is_named(tmp_path, monkeypatch):
    for name, value in {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0",
                        "UV_CACHE_DIR": str(tmp_path)}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="package index is not here"):
        install(Path(sys.executable), "no-such-package")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="package index is not here"):
        install(Path(sys.executable), "no-such-package")
