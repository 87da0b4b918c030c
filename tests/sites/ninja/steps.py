import json

import httpx
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


def walk(site):
    walk_ninja(site)
    walk_graphql(site)
    walk_websockets(site)


def walk_ninja(site):
    user, project = site.program("--user", "ada"), site.program("--project", "engine")
    for path in ("/ninja/who", "/ninja/awho"):
        assert user.get(path).json()["user"] == "ada"
        assert project.get(path).json()["user"] == "project:engine"
        assert httpx.get(site.url + path).status_code == 401
        answer = httpx.get(site.url + path, headers={"Authorization": "Bearer acme_pat_wrong"})
        assert (answer.status_code, answer.json()["code"]) == (401, "malformed_key")
    assert user.post("/ninja/who").json()["code"] == "insufficient_scope"
    writer = site.program("--user", "ada", "--scope", "api:write")
    assert writer.post("/ninja/who").status_code == 200
    writer = site.program("--project", "engine", "--scope", "api:write")
    assert writer.post("/ninja/who").json()["code"] == "credential_not_accepted"


def walk_graphql(site):
    for client, who in (
        (site.program("--user", "ada"), "ada"),
        (site.program("--project", "engine"), "project:engine"),
    ):
        answer = client.post("/graphql/", json={"query": "{ public who }"})
        assert answer.json()["data"] == {"public": "everyone", "who": who}, answer.text
        assert "private" in answer.headers["Cache-Control"]
    answer = httpx.post(f"{site.url}/graphql/", json={"query": "{ who }"}).json()
    assert answer["errors"][0]["extensions"]["code"] == "not_authenticated"


def walk_websockets(site):
    place = site.url.replace("http:", "ws:") + "/ws/who/"
    for owner, who in ((("--user", "ada"), "ada"), (("--project", "engine"), "project:engine")):
        key_id, token = site.mint(*owner)
        with connect(place, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
            assert json.loads(socket.recv(timeout=20)) == {"user": who}
            site.command("apikeys", "revoke", key_id, "--reason", "Lost.")
            assert code_of_close(socket) == 4401
    assert status_of_refusal(place) in {401, 403}


def code_of_close(socket):
    try:
        return socket.recv(timeout=20)
    except ConnectionClosed as closed:
        return closed.rcvd.code


def status_of_refusal(place):
    try:
        with connect(place):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code
