import httpx
from django.contrib.auth import get_user_model

from tests.sites.rest.models import Note


def walk(site):
    user = get_user_model().objects.create_user("bob", password="of no use")
    bob = site.program("--user", "bob", "--scope", "api:write")
    key = site.program("--project", "engine", "--scope", "api:write")
    reader = site.program("--user", "bob")

    for text in ("one", "two", "three"):
        made = bob.post("/v1/notes/", json={"text": text})
        assert made.status_code == 201, made.text
    assert set(Note.objects.values_list("owner", flat=True)) == {user.pk}
    assert reader.post("/v1/notes/", json={"text": "four"}).status_code == 403

    page = reader.get("/v1/notes/", params={"ordering": "text"}).json()
    assert page["count"] == 3
    assert [note["text"] for note in page["results"]] == ["one", "three"]
    assert reader.get(page["next"]).json()["results"][0]["text"] == "two"
    found = reader.get("/v1/notes/", params={"text": "two"}).json()
    assert [note["text"] for note in found["results"]] == ["two"]

    # A view for users says why it cannot serve a project.
    for answer in (
        key.get("/v1/notes/"),
        key.post("/v1/notes/", json={"text": "five"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "user_required"), answer.text
    assert Note.objects.count() == 3

    # The permissions of Django count beside the scopes.
    one = Note.objects.get(text="one")
    place = f"/v1/checked/{one.pk}/"
    assert reader.get(place).status_code == 200
    assert bob.delete(place).status_code in {403, 404}
    assert key.delete(place).status_code == 403
    assert Note.objects.filter(pk=one.pk).exists()

    # Each credential has its own throttle.
    for client in (bob, key, reader):
        got = [client.get("/v1/rare/").status_code for _ in range(3)]
        assert got == [200, 200, 429], got
    assert httpx.get(f"{site.url}/v1/notes/").status_code == 401
