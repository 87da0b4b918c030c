"""The page with the inventory, and its downloads."""

import csv
import io
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.utils import timezone

from apikeys import reach
from apikeys.templatetags.apikeys_pages import in_full
from tests.factories import UserFactory, mint_key, mint_pat

PAGE = "/admin/apikeys/personalaccesstoken/inventory/"
VIEWS = ["view_personalaccesstoken", "view_projectkey"]


@pytest.fixture
def log_in(client, db):
    def log_in(*permissions):
        user = UserFactory(is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(user)
        return client

    return log_in


def test_the_page_shows_numbers_and_the_widest_keys(log_in):
    client = log_in(*VIEWS)
    key = mint_pat(name="<b>laptop</b>").key
    mint_key()
    response = client.get(PAGE)
    html = response.content.decode()

    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    assert "&lt;b&gt;laptop&lt;/b&gt;" in html
    assert f"/admin/apikeys/personalaccesstoken/?q={key.public_id}" in html
    for words in ("Pending approval", "Paused", "Active, never used", "Denials in projects"):
        assert words in html
    assert "style=" not in html.partition('id="content-main"')[2].partition("</main>")[0]


@pytest.mark.slow
def test_both_permissions_are_required(log_in):
    for permissions in ([], VIEWS[:1], VIEWS[1:], ["change_personalaccesstoken"]):
        client = log_in(*permissions)
        for query in ("", "?format=csv", "?format=json"):
            assert client.get(PAGE + query).status_code == 403


def test_a_visitor_is_sent_to_the_login(client, db):
    assert client.get(PAGE).status_code == 302


def test_it_is_downloaded_as_csv_and_json(log_in):
    client = log_in(*VIEWS)
    mint_pat(name="=1+1")
    sheet, document = client.get(f"{PAGE}?format=csv"), client.get(f"{PAGE}?format=json")

    assert sheet["Content-Disposition"] == 'attachment; filename="inventory.csv"'
    assert document["Content-Disposition"] == 'attachment; filename="inventory.json"'
    rows = list(csv.DictReader(io.StringIO(sheet.content.decode())))
    assert [row["name"] for row in rows if row["list"] == "widest"] == ["'=1+1"]
    assert document.json()["keys"]["personal_access_token"]["live"] == 1
    assert client.get(f"{PAGE}?format=xml").status_code == 400


@pytest.mark.slow
def test_the_lists_and_the_index_link_to_it(log_in):
    pages = ("/admin/apikeys/", "/admin/apikeys/projectkey/", "/admin/apikeys/personalaccesstoken/")
    client = log_in(*VIEWS)
    for page in pages:
        assert PAGE in client.get(page).content.decode(), page
    client = log_in(VIEWS[0])
    for page in (pages[0], pages[2]):
        assert PAGE not in client.get(page).content.decode(), page


def test_times_and_kinds_are_words_with_the_exact_time(log_in, engine, ada):
    client = log_in(*VIEWS)
    key = mint_pat(ada).key
    used = timezone.now() - timedelta(days=3)
    type(key).objects.filter(pk=key.pk).update(last_used_at=used)
    reach.deny(engine, reach.find(engine, key.public_id), by=ada, reason="Unknown.")
    with timezone.override("Asia/Tokyo"):
        html = client.get(PAGE).content.decode()
        whole = in_full(used)
    rows = [row for row in html.split("<tr") if key.public_id in row]

    assert "3 days ago</time>" in rows[0]
    assert f'title="{whole}"' in rows[0]
    assert whole.endswith("Asia/Tokyo")
    assert ">personal access token</td>" in rows[1]
    assert re.search(r'<time datetime="[^"]+" title="[^"]+ Asia/Tokyo"', rows[1])
    shown = re.sub(r"<[^>]*>", "", "".join(rows))
    assert not re.search(r"\d{4}-\d{2}-\d{2}T", shown)
    assert "personal_access_token" not in shown
