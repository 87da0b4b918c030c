import csv
import io
import json

from apikeys import lifecycle
from apikeys.models import AuditEvent
from tests.factories import mint_key, mint_pat
from tests.web.conftest import KEYS, mint, text_of


def body(response):
    return b"".join(response.streaming_content).decode()


def test_what_is_done_on_the_pages_is_told_there(page, ada, place):
    mint(page, place)
    key = place.model.objects.get()
    page.post(f"{place.url}{key.public_id}/revoke/", {"reason": "Lost."})
    text = text_of(page.get(f"{place.url}activity/"))

    assert text.count(key.public_id) == 2
    assert "revoked" in text
    assert "by ada" in text
    assert "from 127.0.0.1" in text
    assert "Lost." in text
    assert f"{place.url}activity/" in page.get(place.url).content.decode()


def test_of_one_key(page, ada):
    one, other = mint_pat(ada).key, mint_pat(ada).key
    text = text_of(page.get(f"/settings/keys/activity/?key={one.public_id}"))

    assert one.public_id in text
    assert other.public_id not in text
    assert page.get("/settings/keys/activity/?key=%00'").status_code == 404


def test_a_long_list_is_paged(page, ada):
    key = mint_pat(ada).key
    for n in range(60):
        lifecycle.edit(key, name=f"name {n}")
    first = page.get("/settings/keys/activity/").content.decode()
    oldest = AuditEvent.objects.order_by("pk")[10:11].get().pk

    assert "name 59" in first
    assert "name 5<" not in first
    assert f"?after={oldest + 1}" in first
    assert "name 3" in page.get(f"/settings/keys/activity/?after={oldest}").content.decode()


def test_nothing_is_after_what_is_no_event(page, ada, place):
    mint(page, place)
    key = place.model.objects.get()

    for name in ("abc", "\u00b2", "1.5", "True", "9" * 23, "9" * 5000, "\0"):
        for side in ("after", "before"):
            response = page.get(f"{place.url}activity/", {side: name})
            assert response.status_code == 200
            assert key.public_id not in text_of(response)


def test_no_project_has_a_nul_in_its_name(page):
    for rest in ("", "new/", "activity/"):
        assert page.get(f"/settings/keys/projects/%00/{rest}").status_code == 404


def test_exports(page, ada, place):
    mint(page, place)
    rows = list(csv.DictReader(io.StringIO(body(page.get(f"{place.url}activity/?format=csv")))))
    response = page.get(f"{place.url}activity/?format=jsonl")
    (line,) = body(response).splitlines()

    assert [row["event"] for row in rows] == ["minted"]
    assert json.loads(line)["event"] == "minted"
    assert response["Content-Disposition"] == 'attachment; filename="activity.jsonl"'
    assert response["Cache-Control"] == "no-store, private"
    assert page.get(f"{place.url}activity/?format=xml").status_code == 400


def test_who_may_not_see_it(client, viewer, engine, ada):
    mint_key(engine)
    assert client.get(f"{KEYS}activity/").status_code == 302
    client.force_login(viewer)
    assert client.get(f"{KEYS}activity/").status_code == 403
    assert (
        mint_pat(ada).key.public_id not in client.get("/settings/keys/activity/").content.decode()
    )


def test_a_name_is_no_markup(page, ada):
    mint_pat(ada, name="<script>alert(1)</script>")
    assert "<script>alert" not in page.get("/settings/keys/activity/").content.decode()


def test_networks_and_limits_are_entered_on_the_pages(page, ada, place):
    mint(page, place, allowed_networks="203.0.113.0/24, 2001:db8::/32", rate_limits="10/s")
    key = place.model.objects.get()
    assert key.allowed_networks == "203.0.113.0/24 2001:db8::/32"
    assert key.rate_limits == "10/second"
    assert "203.0.113.0/24" in text_of(page.get(f"{place.url}{key.public_id}/"))

    response = mint(page, place, allowed_networks="203.0.113.7/24", step="review")
    assert response.status_code == 422
    assert "203.0.113.7/24 is not a network" in text_of(response)
    assert "203.0.113.7/24" in response.content.decode()  # and what was entered is still there
