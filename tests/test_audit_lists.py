"""No list of audit events scans the whole log, and no page loses an event."""

from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from apikeys.admin import lists
from apikeys.keys import event_queries
from apikeys.models import AuditEvent
from apikeys.web import event_pages
from tests.benchmarks.audit import an_id, fill
from tests.benchmarks.listing import analyze, recording
from tests.factories import MembershipFactory, ProjectFactory, UserFactory
from tests.keys.test_queries import examined
from tests.tiers import sampled

pytestmark = [pytest.mark.slow, pytest.mark.django_db]

EVENTS = 20_000
TOKENS = "/settings/keys/activity/"
KEYS = "/settings/keys/projects/big-team/activity/"


def day(days):
    return (timezone.now() - timedelta(days=days)).date().isoformat()


@pytest.fixture
def log(monkeypatch):
    """A tenth belongs to one user, a tenth to a project. One user has old events only."""
    # The same share of all events as among millions.
    monkeypatch.setattr(event_queries, "FEW", 200)
    monkeypatch.setattr(event_pages, "MOST", 200)
    monkeypatch.setattr(event_pages, "_FIRST", 50)
    monkeypatch.setattr(lists, "MOST_COUNTED", 200)
    project = ProjectFactory(slug="big-team")
    big, old, root = (UserFactory(username=name) for name in ("big", "old", "root"))
    type(root).objects.filter(pk=root.pk).update(is_staff=True, is_superuser=True)
    MembershipFactory(user=big, project=project, role="owner")
    fill(EVENTS, big, project, old)
    analyze(AuditEvent)
    return SimpleNamespace(big=big, old=old, root=root, project=project)


@pytest.fixture
def get(log):
    def get(user, path, query):
        client = Client()
        client.force_login(getattr(log, user))
        return client.get(path, query)

    return get


FILTERS = [
    {},
    {"event": "minted"},
    {"event": "leaked"},
    {"event": "exchanged"},
    {"q": "laptop"},
    {"q": "nothing at all"},
    {"q": an_id(0)},
    {"by": "Grace"},
    {"by": "nobody"},
    {"since": day(30)},
    {"until": day(700)},
    {"since": day(730), "until": day(729)},
    {"event": "leaked", "until": day(700)},
    {"event": "minted", "until": day(700)},
    {"event": "minted", "by": "nobody", "q": "server"},
    {"key": an_id(0)},
]


@pytest.mark.skipif(connection.vendor == "postgresql", reason="It scans such a small table.")
def test_no_list_scans_the_log(get):
    lists = [("big", path, query) for path in (TOKENS, KEYS) for query in FILTERS]
    lists += [("old", TOKENS, query) for query in FILTERS]
    for path in ("/api/tokens/audit/", "/api/projects/big-team/keys/audit/"):
        for query in ({}, {"event": "minted"}, {"event": "leaked"}, {"event": "exchanged"}):
            lists += [("big", path, query), ("big", path, query | {"key": an_id(0)})]
    for query in ({}, {"event": "leaked"}, {"q": an_id(0)}, {"q": an_id(0), "event": "minted"}):
        lists += [("root", "/admin/apikeys/auditevent/", query)]
    for user, path, query in lists:
        with recording() as made:
            assert get(user, path, query).status_code == 200
        for statement in made:
            if statement[0].startswith("SELECT"):
                rows, plan = examined(statement)
                assert rows < EVENTS / 2, f"{path} {query}: {statement[0]}\n{plan}"


@pytest.mark.skipif(connection.vendor == "postgresql", reason="It scans such a small table.")
def test_the_command_does_not_scan_the_log(log):
    for scope in ([], ["--user", "big"], ["--user", "old"], ["--project", "big-team"]):
        for event in ([], ["--event", "leaked"], ["--event", "exchanged"]):
            for times in ([], ["--since", "30d"], ["--until", "700d"]):
                with recording() as made:
                    call_command("apikeys", "audit", *scope, *event, *times, "--limit", "20")
                for statement in made:
                    rows, plan = examined(statement)
                    assert rows < EVENTS / 2, f"{scope} {event} {times}: {statement[0]}\n{plan}"


@pytest.mark.skipif(connection.vendor != "mysql", reason="Only MariaDB would.")
def test_mariadb_does_not_sort_all_events_of_an_owner_for_one_page(log):
    for scope in (["--user", "big"], ["--project", "big-team"]):
        with recording() as made:
            call_command("apikeys", "audit", *scope, "--event", "minted", "--until", "700d")
        (by_time,) = [each for each in made if "ORDER BY" in each[0] and "COALESCE" in each[0]]
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN {by_time[0]}", by_time[1])
            plans = [
                dict(zip([c[0] for c in cursor.description], row, strict=True)) for row in cursor
            ]
        assert [plan["key"] for plan in plans] == ["apikeys_audit_owner_at"], plans
        assert "filesort" not in plans[0]["Extra"]


def walk(get, query, user="big", path=TOKENS):
    """Return the events of all pages, newest page first, and again from the oldest back."""

    def rows(context):
        return [row["event"].pk for each in context["days"] for row in each["events"]]

    def follow(url, direction):
        found = []
        while url is not None:
            context = get(user, path, dict(parse_qsl(url.removeprefix("?")))).context
            found.append(rows(context))
            last, url = url, getattr(context["page"], direction)
            assert len(found) < 500
        return found, last

    forth, last = follow("?" + "&".join(f"{k}={v}" for k, v in query.items()), "next")
    back, _first = follow(last, "previous")
    return [pk for page in forth for pk in page], [pk for page in back[::-1] for pk in page]


@pytest.mark.parametrize(
    "query",
    sampled(
        [
            {"by": "Grace"},
            {"by": "rare"},
            {"q": "nothing at all"},
            {"event": "leaked"},
            {"event": "notified", "until": day(700)},
            {"since": day(400), "until": day(300), "by": "big"},
            {"event": "revoked", "by": "big", "since": day(200)},
        ],
        3,
    ),
)
def test_pages_show_each_match_once_in_order(log, get, query):
    expected = AuditEvent.objects.with_clients_of(log.big)
    if "event" in query:
        expected = expected.filter(event=query["event"])
    if "by" in query:
        expected = expected.filter(by__iexact=query["by"])
    if "q" in query:
        expected = expected.none()
    if "since" in query:
        expected = expected.filter(at__date__gte=query["since"])
    if "until" in query:
        expected = expected.filter(at__date__lte=query["until"])
    order = ("-at", "-pk") if {"since", "until"} & set(query) else ("-pk",)
    pks = list(expected.order_by(*order).values_list("pk", flat=True))

    forth, back = walk(get, query)

    assert forth == pks
    assert back == pks


def test_a_page_says_that_it_searched_a_part_only(get):
    page = get("big", TOKENS, {"q": "nothing at all"})
    html = page.content.decode()
    assert "No event matches among those searched so far." in html
    assert "Next" in html
    whole = get("old", TOKENS, {"q": "nothing at all", "since": day(1)}).content.decode()
    assert "No event matches." in whole


def test_cursor_of_a_list_by_time_must_be_an_event_of_the_owner(log, get):
    other = AuditEvent.objects.of(log.project).order_by("pk").first()
    found = get("big", TOKENS, {"since": day(2000), "before": other.pk})
    assert not found.context["days"]


def test_a_name_that_looks_like_an_id_is_found(get, log):
    from apikeys import audit
    from tests.factories import mint_pat

    key = mint_pat(log.big, name="backupserver0001").key
    audit.write("approved", key)
    context = get("big", TOKENS, {"q": "backupserver0001"}).context
    assert len([row for each in context["days"] for row in each["events"]]) == 2


def test_kinds_are_sorted_together(get):
    kinds = {
        row["event"].kind
        for each in get("big", TOKENS, {}).context["days"]
        for row in each["events"]
    }
    assert kinds == {"personalaccesstoken", "client"}
