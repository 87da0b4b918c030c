import csv
import io
import json
import re
from datetime import timedelta
from html import unescape

import pytest
from django.db.models import QuerySet
from django.utils import timezone

from apikeys import audit, lifecycle, moments
from apikeys.audit import Event
from apikeys.models import AuditEvent, PersonalAccessToken
from apikeys.web import activity
from tests.factories import UserFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, mint, text_of


def body(response):
    return b"".join(response.streaming_content).decode()


@pytest.mark.slow
def test_actions_on_the_pages_are_listed(page, ada, place):
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


@pytest.mark.slow
def test_events_are_sentences_without_python(page, ada, place, engine):
    mint(page, place)
    key = place.model.objects.get()
    soon = timezone.now() + timedelta(days=9)
    lifecycle.edit(key, scopes=["payments:write", "reports:read"], by=ada)
    lifecycle.edit(key, name="desk", description="Nightly.", expires_at=soon, by=ada)
    lifecycle.edit(key, allowed_networks=["203.0.113.0/24"], rate_limits=["9/second"], by=ada)
    lifecycle.edit(key, allowed_networks=[], expires_at=None, description="", by=ada)
    new = lifecycle.rotate(key, by=ada).key
    lifecycle.revoke(new, reason="It was lost.", by=ada)
    audit.write(Event.NEW_NETWORK, key, changes={"network": "203.0.113.0/24"})
    audit.write(Event.LEAKED, key, changes={"source": "GitHub", "revoked": False})
    audit.write(Event.NOTIFIED, key, changes={"days": 7, "expires_at": None})
    text = text_of(page.get(f"{place.url}activity/")).replace(" .", ".").replace(" ,", ",")

    for sentence in (
        "laptop was created. Permissions: See payments.",
        "Access changed: removed See payments, added Make payments, and see them, See reports.",
        "Renamed from laptop to desk.",
        "Description set to Nightly.",
        "Allowed IP ranges set to 203.0.113.0/24.",
        "Rate limits set to 9/second.",
        "Allowed IP ranges removed. It was 203.0.113.0/24.",
        f"desk was rotated. {new.public_id} replaces it.",
        f"was created to replace {key.public_id}.",
        "desk was revoked. Reason: It was lost.",
        "was used from a new network: 203.0.113.0/24.",
        "was reported as leaked by GitHub. It was not revoked by this report.",
        "expires within 7 days. The owner was notified.",
    ):
        assert sentence in text, sentence
    for python in ("None", "['", "{'", "&#x27;", "true", "False", "before", ".."):
        assert python not in text, python
    if place.model is PersonalAccessToken:
        lifecycle.edit(key := mint_pat(ada).key, projects=[engine], by=ada)
        text = text_of(page.get(f"{place.url}activity/")).replace(" .", ".").replace(" ;", ";")
        changed = "before all projects, also future ones; now Analytical Engine."
        assert f"Projects changed: {changed}" in text


def test_unknown_changes_are_hidden_and_escaped(page, ada):
    key = mint_pat(ada).key
    audit.write("later", key, changes={"new": {"deep": ["<b>"]}})
    audit.write(Event.EDITED, key, changes={"new": {"before": 1, "after": "<b>"}, "old": 3})
    audit.write(Event.REVOKED, key, changes={"reason": "<script>alert(1)</script> {0} {}"})
    audit.write(Event.MINTED, key, changes={"expires_at": "nonsense", "scopes": ["gone:read"]})
    html = page.get("/settings/keys/activity/").content.decode()
    assert "<script>alert" not in html
    assert "{0} {}" in html
    assert "New changed from <em>1</em> to <em>&lt;b&gt;</em>." in html
    assert "gone:read" in html


def test_events_are_grouped_by_day(page, ada):
    key = mint_pat(ada).key
    for days in (0, 1, 1):
        audit.write(Event.APPROVED, key, at=timezone.now() - timedelta(days=days))
    days = page.get("/settings/keys/activity/").context["days"]
    assert [len(day["events"]) for day in days] in ([2, 2], [1, 1, 2])


@pytest.mark.slow
def test_events_are_filtered_by_event_name_person_and_time(page, place, ada, engine):
    mint(page, place)
    key = place.model.objects.get()
    lifecycle.edit(key, name="server", by=ada)
    audit.write(Event.APPROVED, key, by=UserFactory(username="grace"))
    audit.write(Event.EXPIRED, key, at=timezone.now() - timedelta(days=40))

    def found(**params):
        context = page.get(f"{place.url}activity/", params).context
        return [row["event"].event for day in context["days"] for row in day["events"]]

    today = timezone.now().date().isoformat()
    assert found(event="edited") == ["edited"]
    assert found(q="laptop") == ["minted"]
    assert found(q=key.public_id[:9]) == ["expired", "approved", "edited", "minted"]
    assert found(by="Grace") == ["approved"]
    assert found(until=(timezone.now() - timedelta(days=30)).date().isoformat()) == ["expired"]
    assert found(since=today) == ["approved", "edited", "minted"]
    for wrong in ({"event": "nonsense"}, {"since": "nonsense"}, {"q": "\0"}, {"by": "\0"}):
        assert found(**wrong) == []
    assert found(since="9999-12-31") == found(until="0001-01-01") == []
    exported = body(page.get(f"{place.url}activity/", {"event": "edited", "format": "jsonl"}))
    assert [json.loads(line)["event"] for line in exported.splitlines()] == ["edited"]
    html = page.get(f"{place.url}activity/", {"by": "grace"}).content.decode()
    assert "?by=grace&amp;format=csv" in html


def test_page_is_localized(page, ada):
    lifecycle.edit(mint_pat(ada).key, scopes=["reports:read"], by=ada)
    told = text_of(page.get("/settings/keys/activity/", headers={"Accept-Language": "de"}))
    assert "Zugriff geändert: entfernt" in told


def test_events_are_filtered_by_key(page, ada):
    one, other = mint_pat(ada).key, mint_pat(ada).key
    text = text_of(page.get(f"/settings/keys/activity/?key={one.public_id}"))

    assert one.public_id in text
    assert other.public_id not in text
    assert page.get("/settings/keys/activity/?key=%00'").status_code == 404


def events_of(response):
    return [event.public_id for event in response.context["page"].rows]


def test_filter_by_key_names_it_and_links_to_its_page(page, ada, place):
    mint(page, place)
    key = place.model.objects.get()
    response = page.get(f"{place.url}activity/", {"key": key.public_id})

    assert f"Only events of laptop ( {key.public_id} )." in text_of(response)
    assert (
        f'href="{place.url}{key.public_id}/"><strong>laptop</strong>' in response.content.decode()
    )
    assert "replaced too" not in text_of(response)


def test_filter_by_a_deleted_key_names_it_without_a_link(page, ada):
    key = mint_pat(ada, name="<b>gone").key
    PersonalAccessToken.objects.all().delete()
    response = page.get("/settings/keys/activity/", {"key": key.public_id})

    html = response.content.decode()
    assert f"<strong>&lt;b&gt;gone</strong> (<code>{key.public_id}</code>)." in html
    assert events_of(response)


def test_an_id_without_events_is_not_named(page):
    html = page.get("/settings/keys/activity/", {"key": "zejlosc9kd96fngc"}).content.decode()
    assert "Only events of <code>zejlosc9kd96fngc</code>." in html


@pytest.mark.slow
def test_events_of_a_rotated_key_include_those_that_it_replaced(page, ada, place):
    mint(page, place)
    first = place.model.objects.get()
    second = lifecycle.rotate(first, by=ada).key
    third = lifecycle.rotate(second, by=ada).key
    lifecycle.rotate(third, by=ada)
    url = f"{place.url}activity/"
    own = page.get(url, {"key": third.public_id})
    link = f"?key={third.public_id}&amp;replaced=1"

    assert set(events_of(own)) == {third.public_id}
    assert f'href="{link}"' in own.content.decode()
    found = page.get(url, {"key": third.public_id, "replaced": "1"})
    assert set(events_of(found)) == {first.public_id, second.public_id, third.public_id}
    assert "and of the 2" in text_of(found)
    assert [e.pk for e in found.context["page"].rows] == sorted(
        (e.pk for e in found.context["page"].rows), reverse=True
    )
    both = {"key": third.public_id, "replaced": "1", "event": "minted"}
    assert events_of(page.get(url, both)) == [third.public_id, second.public_id, first.public_id]
    since = both | {"since": timezone.now().date().isoformat()}
    assert len(events_of(page.get(url, since))) == 3
    assert 'name="replaced" value="1"' in found.content.decode()
    exported = body(page.get(url, both | {"format": "csv"}))
    assert exported.count("minted") == 3


def test_events_of_a_replaced_key_of_somebody_else_are_not_listed(page, ada):
    theirs = mint_pat(UserFactory()).key
    mine = lifecycle.rotate(mint_pat(ada).key, by=ada).key
    PersonalAccessToken.objects.filter(pk=mine.pk).update(replaces=theirs)
    params = {"key": mine.public_id, "replaced": "1"}
    assert set(events_of(page.get("/settings/keys/activity/", params))) == {mine.public_id}


def test_ids_in_sentences_link_to_their_events(page, ada, place):
    mint(page, place)
    old = place.model.objects.get()
    new = lifecycle.rotate(old, by=ada).key
    audit.write(Event.LEAKED, old, changes={"source": "GitHub", "successors": [new.public_id]})
    html = page.get(f"{place.url}activity/").content.decode()

    to_new = f'<a href="?key={new.public_id}">{new.public_id}</a>'
    assert f"was rotated. <code>{to_new}</code> replaces it." in html
    assert f"revoked too: <em>{to_new}</em>." in html
    assert (
        f'was created to replace <code><a href="?key={old.public_id}">{old.public_id}</a></code>.'
    ) in html


def test_text_that_is_no_id_is_not_linked():
    event = AuditEvent(event="minted", changes={"replaces": "<script>"})
    assert activity.sentence(event, {}) == "was created to replace <code>&lt;script&gt;</code>."


def test_a_refused_address_is_said_to_be_listed_once_a_day(page, ada):
    audit.write(Event.REFUSED_NETWORK, mint_pat(ada).key)
    told = text_of(page.get("/settings/keys/activity/"))
    assert "outside its allowed IP ranges. Only the first such request of a day is listed." in told


@pytest.mark.slow
def test_links_set_the_days_and_keep_the_other_filters(page, ada, place):
    mint(page, place)
    url = f"{place.url}activity/"
    today = timezone.now().date()
    yesterday, week = today - timedelta(days=1), today - timedelta(days=6)
    html = page.get(url, {"event": "minted", "after": "9999"}).content.decode()

    for since, until, label in [
        (today, today, "Today"),
        (yesterday, yesterday, "Yesterday"),
        (week, today, "Last 7 days"),
    ]:
        assert f'href="?event=minted&amp;since={since}&amp;until={until}">{label}</a>' in html
    shown = page.get(url, {"since": str(today), "until": str(today)})
    assert f'since={today}&amp;until={today}" aria-current="true">Today</a>' in (
        shown.content.decode()
    )
    assert len(events_of(shown)) == 1
    empty = page.get(url, {"since": str(yesterday), "until": str(yesterday)})
    assert not events_of(empty)
    assert "Yesterday" in text_of(empty)


@pytest.mark.slow
def test_long_list_is_paged(page, ada):
    key = mint_pat(ada).key
    for n in range(60):
        lifecycle.edit(key, name=f"name {n}")
    first = page.get("/settings/keys/activity/").content.decode()
    oldest = AuditEvent.objects.order_by("-pk")[20:21].get().pk

    assert "name 59" in first
    assert "name 5<" not in first
    assert f"?after={oldest + 1}" in first
    assert "name 3" in page.get(f"/settings/keys/activity/?after={oldest}").content.decode()


@pytest.mark.slow
def test_invalid_cursor_shows_no_events(page, ada, place):
    mint(page, place)
    key = place.model.objects.get()

    for name in ("abc", "\u00b2", "1.5", "True", "9" * 23, "9" * 5000, "\0"):
        for side in ("after", "before"):
            response = page.get(f"{place.url}activity/", {side: name})
            assert response.status_code == 200
            assert key.public_id not in text_of(response)


def test_project_slug_with_nul_is_404(page):
    for rest in ("", "new/", "activity/"):
        assert page.get(f"/settings/keys/projects/%00/{rest}").status_code == 404


def test_events_are_exported_as_csv_and_json_lines(page, ada, place):
    mint(page, place)
    rows = list(csv.DictReader(io.StringIO(body(page.get(f"{place.url}activity/?format=csv")))))
    response = page.get(f"{place.url}activity/?format=jsonl")
    (line,) = body(response).splitlines()

    assert [row["event"] for row in rows] == ["minted"]
    assert json.loads(line)["event"] == "minted"
    assert response["Content-Disposition"] == 'attachment; filename="activity.jsonl"'
    assert response["Cache-Control"] == "no-store, private"
    assert page.get(f"{place.url}activity/?format=xml").status_code == 400


def test_events_are_hidden_without_permission(client, viewer, engine, ada):
    mint_key(engine)
    assert client.get(f"{KEYS}activity/").status_code == 302
    client.force_login(viewer)
    assert client.get(f"{KEYS}activity/").status_code == 403
    assert (
        mint_pat(ada).key.public_id not in client.get("/settings/keys/activity/").content.decode()
    )


def test_name_is_escaped(page, ada):
    mint_pat(ada, name="<script>alert(1)</script>")
    assert "<script>alert" not in page.get("/settings/keys/activity/").content.decode()


@pytest.mark.slow
def test_ip_ranges_and_rate_limits_are_entered_on_the_pages(page, ada, place):
    mint(page, place, allowed_networks="203.0.113.0/24, 2001:db8::/32", rate_limits="10/s")
    key = place.model.objects.get()
    assert key.allowed_networks == "203.0.113.0/24 2001:db8::/32"
    assert key.rate_limits == "10/second"
    assert "203.0.113.0/24" in text_of(page.get(f"{place.url}{key.public_id}/"))

    response = mint(page, place, allowed_networks="203.0.113.7/24", step="review")
    assert response.status_code == 422
    assert "203.0.113.7/24 has host bits set. Did you mean 203.0.113.0/24?" in text_of(response)
    assert "203.0.113.7/24" in response.content.decode()  # the form keeps its data


def test_an_event_without_words_is_escaped():
    event = AuditEvent(event="<script>alert(1)</script>.", changes={})

    assert "<script>" not in activity.sentence(event, {})


def test_a_pasted_secret_is_not_shown(page, ada):
    token = mint_pat(ada).token
    response = page.get("/settings/keys/activity/", {"by": token}, follow=True)

    assert token not in response.content.decode()
    assert "You entered a key or its secret" in text_of(response)


@pytest.mark.slow
def test_an_empty_filter_links_to_the_last_event(page, ada, place, engine):
    is_token = place.model is PersonalAccessToken
    key = (mint_pat(ada, name="laptop") if is_token else mint_key(engine, name="laptop")).key
    lifecycle.edit(key, name="desk")
    at = timezone.now() - timedelta(days=3, hours=1)
    QuerySet(AuditEvent).update(at=at)
    day = str(moments.local(at).date())
    yesterday = str(moments.local(timezone.now() - timedelta(days=1)).date())
    url = f"{place.url}activity/"

    def empty(**params):
        response = page.get(url, params)
        assert "No event matches." in text_of(response)
        link = re.search(r'href="(\?[^"]*)">Show that day', response.content.decode())
        return text_of(response).replace(" .", "."), unescape(link[1]) if link else None

    text, link = empty(since=yesterday, until=yesterday)
    assert "The last event was 3 days ago. Show that day" in text
    assert {event.event for event in page.get(url + link).context["page"].rows} == {
        "minted", "edited",
    }  # fmt: skip
    text, link = empty(since=yesterday, until=yesterday, event="edited")
    assert "The last match was 3 days ago. Show that day" in text
    assert link == f"?since={day}&until={day}&event=edited"
    assert [event.event for event in page.get(url + link).context["page"].rows] == ["edited"]
    text, link = empty(event="leaked", q="x", by="y")
    assert "The last event was 3 days ago." in text
    assert link == f"?since={day}&until={day}"
    text, link = empty(key=key.public_id, event="leaked")
    assert link == f"?key={key.public_id}&since={day}&until={day}"


def test_activity_without_events_has_no_link_to_one(page, place):
    mint_pat(), mint_key()  # of others
    QuerySet(AuditEvent).update(at=timezone.now() - timedelta(days=3))
    for params in ({}, {"event": "leaked"}):
        assert "Show that day" not in text_of(page.get(f"{place.url}activity/", params))


def test_search_of_the_activity_finds_an_id_in_other_lists(page, ada, engine):
    key = mint_key(engine, name="server", by=ada).key
    text = text_of(page.get("/settings/keys/activity/", {"q": key.public_id}))
    assert f"Found by ID outside these results: server {key.public_id}" in text
