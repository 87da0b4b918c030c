"""A site whose router sends reads to a PostgreSQL replica that is an hour behind."""

import json
import re
import secrets
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
        _, facts["of_gone"] = facts["states"][0]["doomed"][0]
        query(
            primary,
            "INSERT INTO auth_user (username, password, first_name, last_name, email,"
            " is_superuser, is_staff, is_active, date_joined)"
            " VALUES ('gone', '!', '', '', '', false, false, true, now())",
        )
        query(
            primary,
            "UPDATE apikeys_personalaccesstoken SET user_id = u.id FROM auth_user u"
            " WHERE u.username = 'gone' AND public_id = %s",
            facts["of_gone"],
        )
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


@pytest.fixture(scope="module")
def lister(servers, tmp_path_factory):
    """The site, which reads its lists from the replica."""
    with running(site_on(servers, tmp_path_factory, SITE_LISTS_FROM="replica")) as site:
        yield site


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
    tokens = "/admin/apikeys/personalaccesstoken/"
    pages = [tokens, f"{tokens}inventory/", f"{tokens}access/", "/admin/apikeys/projectkey/find/"]
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


def test_commands_see_and_change_what_was_just_written(site, manager):
    made = create(manager)
    assert made["id"] in {each["id"] for each in site.apikeys("list", "--user", "ada")}
    site.apikeys("revoke", made["id"], "--reason", "Tried.")
    assert status(site, made["token"]) == 401


def new_session(servers):
    """Another session of the same user."""
    key = secrets.token_hex(16)
    query(
        servers[0],
        "INSERT INTO django_session SELECT %s, session_data, expire_date FROM django_session"
        " WHERE session_key = %s",
        key,
        servers[2]["session"],
    )
    return key


#: Pages and endpoints that list tokens or their events.
LISTS = (
    *(TOKENS, f"{TOKENS}activity/", f"{TOKENS}activity/?format=csv", f"{TOKENS}activity/?by=ada"),
    *("/api/tokens/", "/api/tokens/audit/"),
    *("/admin/apikeys/personalaccesstoken/", "/admin/apikeys/auditevent/"),
)


def test_lists_come_from_the_replica_and_all_else_from_the_primary(servers, lister, facts):
    before = facts["states"][0]["by_api"]
    with (
        lister.client(facts["manager"]) as manager,
        lister.client(session=new_session(servers)) as reader,
    ):
        made = create(manager)
        for url in LISTS:
            shown = reader.get(url)
            assert (shown.status_code, made["id"] in shown.text) == (200, False), url
        assert before in reader.get(f"{TOKENS}?q={before}").text
        assert before in reader.get("/api/tokens/?page_size=100").text
        assert before in reader.get(f"/admin/apikeys/personalaccesstoken/?q={before}").text
        assert made["id"] not in ids(manager.get("/api/tokens/?page_size=100"))

        assert status(lister, made["token"]) == 200
        assert manager.get(f"/api/tokens/{made['id']}/").status_code == 200
        assert reader.get(f"{TOKENS}{made['id']}/").status_code == 200
        assert manager.delete(f"/api/tokens/{made['id']}/").status_code == 204
        assert status(lister, made["token"]) == 401


@pytest.mark.parametrize("where", ["page", "admin", "API"])
def test_who_has_just_changed_something_sees_it_in_every_list(servers, lister, facts, where):
    with lister.client(session=new_session(servers)) as browser:
        if where == "page":
            form = {"name": "x", "expiry": "30", "scopes:payments": "payments:read"}
            shown = post(browser, f"{TOKENS}new/", **form, reach="all").text
        elif where == "admin":
            with lister.client(facts["manager"]) as manager:
                token = create(manager)
            shown = token["token"]
            url = "/admin/apikeys/personalaccesstoken/"
            pk = query(
                servers[0],
                "SELECT id FROM apikeys_personalaccesstoken WHERE public_id = %s",
                token["id"],
            )[0][0]
            post(browser, url, action="revoke", _selected_action=str(pk))
        else:
            browser.get(f"{TOKENS}new/")
            headers = {"X-CSRFToken": browser.cookies["csrftoken"]}
            asked = {"name": "x", "scopes": ["payments:read"]}
            shown = browser.post("/api/tokens/", json=asked, headers=headers).text
        public_id = re.search(r"acme_pat_([0-9a-z]{16})_", shown)[1]
        for url in LISTS:
            assert public_id in browser.get(url).text, url


def test_a_token_with_selected_projects_lists_what_the_primary_lets_it_see(lister, facts):
    with lister.client(facts["manager"]) as manager:
        scopes = ["keys:read", "payments:read"]
        narrow = create(manager, projects=["engine"], scopes=scopes)
        other = create(manager, projects=["engine"])
    with lister.client(narrow["token"]) as script:
        assert {narrow["id"], other["id"]} <= ids(script.get("/api/tokens/"))


def test_admin_and_command_list_keys_of_the_replica_whose_user_was_deleted(servers, lister, facts):
    """The rows that a row refers to come from the same database."""
    primary, public_id = servers[0], facts["of_gone"]
    query(primary, "DELETE FROM apikeys_personalaccesstoken WHERE public_id = %s", public_id)
    query(primary, "DELETE FROM auth_user WHERE username = 'gone'")
    with lister.client(session=new_session(servers)) as reader:
        shown = reader.get(f"/admin/apikeys/personalaccesstoken/?q={public_id}")
        assert (shown.status_code, ">gone<" in shown.text) == (200, True)

    with lister.client(facts["manager"]) as manager:
        made = create(manager)
    listed = {each["id"]: each["user"] for each in lister.apikeys("list", "--limit", "1000")}
    assert (listed[public_id], made["id"] in listed) == ("gone", False)
