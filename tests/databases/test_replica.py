"""A site whose router sends reads to a PostgreSQL replica that is an hour behind."""

import json
import re
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from tests.databases.sites import Site, post
from tests.servers import LaggingStandby, PostgreSQLServer, running

pytestmark = pytest.mark.process

TOKENS, KEYS = "/settings/keys/", "/settings/keys/projects/engine/"
SETTINGS = "tests.databases.lagging_settings"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """The site, its two databases, and the credentials that both of them have."""
    with (
        TemporaryDirectory() as first,
        TemporaryDirectory() as second,
        running(PostgreSQLServer(Path(first), 100)) as primary,
    ):
        alone = Site(
            tmp_path_factory.mktemp("alone"),
            SERVER_DATABASE="postgres",
            SERVER_DATABASE_PORT=str(primary.port),
        )
        facts = json.loads(alone.run("-m", "tests.outage_site", "1", "1"))
        with running(LaggingStandby(Path(second), primary)) as standby:
            yield primary, standby, facts


@pytest.fixture(scope="module")
def site(servers, tmp_path_factory):
    with running(site_on(servers, tmp_path_factory)) as site:
        yield site


def site_on(servers, tmp_path_factory, **variables):
    primary, standby, _ = servers
    return Site(
        tmp_path_factory.mktemp("web"),
        DJANGO_SETTINGS_MODULE=SETTINGS,
        SERVER_DATABASE="postgres",
        SERVER_DATABASE_PORT=str(primary.port),
        REPLICA_PORT=str(standby.port),
        **variables,
    )


@pytest.fixture
def facts(servers):
    return servers[2]


@pytest.fixture
def manager(site, facts):
    """Send requests with a token that may manage tokens and keys."""
    with site.client(facts["manager"]) as client:
        yield client


@pytest.fixture
def browser(site, facts):
    """Open pages as an owner of the project and administrator of the site."""
    with site.client(session=facts["session"]) as client:
        yield client


def query(server, sql, *values):
    address = f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres"
    with closing(psycopg.connect(address, autocommit=True)) as connection:
        cursor = connection.execute(sql, values)
        return cursor.fetchall() if cursor.description else None


def create(manager, url="/api/tokens/", **fields):
    response = manager.post(url, json={"name": "ci", "scopes": ["payments:read"]} | fields)
    assert response.status_code == 201, response.text
    return response.json()


def status(site, token, path="/plain/"):
    with site.client(token) as client:
        return client.get(path).status_code


def ids(response):
    assert response.status_code == 200, response.text
    return {each["id"] for each in response.json()["results"]}


def test_the_replica_lacks_what_the_primary_has(servers, manager):
    primary, standby, _ = servers
    made = create(manager)
    count = "SELECT count(*) FROM apikeys_personalaccesstoken WHERE public_id = %s"
    assert query(standby, "SELECT pg_is_in_recovery()") == [(True,)]
    assert query(primary, count, made["id"]) == [(1,)]
    assert query(standby, count, made["id"]) == [(0,)]


@pytest.mark.parametrize("url", ["/api/tokens/", "/api/projects/engine/keys/"])
def test_a_key_counts_from_the_next_request_on(site, manager, url):
    made = create(manager, url)
    assert status(site, made["token"]) == 200
    assert made["id"] in ids(manager.get(url))
    assert manager.get(f"{url}{made['id']}/").json()["name"] == "ci"
    assert made["id"] in manager.get(f"{url}audit/").text

    one = f"{url}{made['id']}/"
    assert manager.patch(one, json={"name": "new", "allowed_networks": ["192.0.2.0/24"]}).is_success
    assert manager.get(one).json()["name"] == "new"
    assert status(site, made["token"]) == 403  # outside the range that was just set
    assert manager.patch(one, json={"allowed_networks": []}).is_success
    assert status(site, made["token"]) == 200

    rotated = manager.post(f"{one}rotate/", json={"overlap_seconds": 0}).json()
    assert status(site, rotated["token"]) == 200
    assert status(site, made["token"]) == 401

    assert manager.delete(f"{url}{rotated['id']}/").status_code == 204
    assert status(site, rotated["token"]) == 401
    assert manager.get(f"{url}{rotated['id']}/").json()["state"] == "revoked"


def test_a_repeated_create_creates_one_token(manager):
    how = {"json": {"name": "once", "scopes": ["payments:read"]}}
    how["headers"] = {"Idempotency-Key": "the-same"}
    first, second = (manager.post("/api/tokens/", **how) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert (first.json()["id"], second.json()["token"]) == (second.json()["id"], None)


def test_a_denied_token_does_not_reach_the_project_at_the_next_request(site, manager):
    made = create(manager)
    with site.client(made["token"]) as script:
        assert [each["slug"] for each in script.get("/api/projects/").json()] == ["engine"]
        denied = manager.post(
            f"/api/projects/engine/access/{made['id']}/deny/", json={"reason": "Not this one."}
        )
        assert denied.is_success, denied.text
        assert script.get("/api/projects/").json() == []


def test_a_suspension_by_the_policy_counts_at_the_next_request(servers, site, manager, browser):
    made = create(manager)
    new = f"{KEYS}new/"
    assert browser.get(KEYS).status_code == browser.get(new).status_code == 200
    with suspended(servers[0]), site.client(made["token"]) as script:
        assert script.get("/api/projects/").json() == []
        assert manager.get("/api/projects/engine/keys/").status_code == 404
        assert browser.get(KEYS).status_code == browser.get(new).status_code == 404


@contextmanager
def suspended(primary):
    query(primary, "INSERT INTO auth_group (name) VALUES ('suspended')")
    query(
        primary,
        "INSERT INTO auth_user_groups (user_id, group_id)"
        " SELECT u.id, g.id FROM auth_user u, auth_group g",
    )
    try:
        yield
    finally:
        query(primary, "DELETE FROM auth_user_groups")
        query(primary, "DELETE FROM auth_group")


@pytest.mark.parametrize("url", [TOKENS, KEYS])
def test_pages_show_a_key_that_was_just_created_and_revoked(site, browser, url):
    form = {"name": "from the page", "expiry": "30", "scopes:payments": "payments:read"}
    shown = post(browser, f"{url}new/", **form, **({"reach": "all"} if url == TOKENS else {}))
    public_id = re.search(r"acme_(?:pat|key)_([0-9a-z]{16})_", shown.text)[1]
    assert public_id in browser.get(url).text
    assert browser.get(f"{url}{public_id}/").status_code == 200
    assert public_id in browser.get(f"{url}activity/").text

    assert post(browser, f"{url}{public_id}/revoke/", reason="Tried.").status_code == 200
    assert public_id not in browser.get(url).text
    assert public_id in browser.get(f"{url}?state=ended").text


def test_the_admin_refuses_at_once_who_was_just_made_an_ordinary_user(servers, browser):
    pages = ["/admin/apikeys/personalaccesstoken/", "/admin/apikeys/personalaccesstoken/inventory/",
             "/admin/apikeys/projectkey/find/"]  # fmt: skip
    assert {browser.get(page).status_code for page in pages} == {200}
    query(servers[0], "UPDATE auth_user SET is_staff = false")
    try:
        assert {browser.get(page).status_code for page in pages} == {302}
    finally:
        query(servers[0], "UPDATE auth_user SET is_staff = true")


def test_pages_refuse_at_once_who_was_just_deactivated(servers, browser):
    query(servers[0], "UPDATE auth_user SET is_active = false")
    try:
        assert {browser.get(page).status_code for page in (TOKENS, KEYS)} == {302}
    finally:
        query(servers[0], "UPDATE auth_user SET is_active = true")


@pytest.mark.parametrize(
    ("url", "model"),
    [("/api/tokens/", "personalaccesstoken"), ("/api/projects/engine/keys/", "projectkey")],
)
def test_the_admin_lists_a_key_that_was_just_created(manager, browser, url, model):
    made = create(manager, url)
    assert made["id"] in browser.get(f"/admin/apikeys/{model}/").text
    assert made["id"] in browser.get("/admin/apikeys/auditevent/").text


def test_commands_see_and_change_what_was_just_written(site, facts):
    made = site.apikeys("mint", "--user", "ada", "--name", "cron", "--scope", "payments:read")
    assert status(site, made["token"]) == 200
    assert made["id"] in {each["id"] for each in site.apikeys("list", "--user", "ada")}
    site.apikeys("revoke", made["id"], "--reason", "Tried.")
    assert status(site, made["token"]) == 401
