"""Search, filters and sorting of the lists of keys, all by the query string."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys import lifecycle
from apikeys.models import PersonalAccessToken
from tests.factories import MembershipFactory, ProjectFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of

NOW = timezone.now


def names(response):
    return [row["key"].name for row in response.context["rows"]]


@pytest.fixture
def make(place, ada, engine):
    """Make a key of the place. ``changes`` set its columns."""

    def make(name, scopes=("payments:read",), description="", **changes):
        terms = {"name": name, "scopes": scopes, "description": description}
        key = (mint_pat(ada, **terms) if place.url == TOKENS else mint_key(engine, **terms)).key
        if changes:
            place.model.objects.filter(pk=key.pk).update(**changes)
        return key

    return make


@pytest.mark.slow
def test_search_finds_name_description_and_id(page, place, make):
    one, two = make("Deploy from CI"), make("laptop", description="Used by the deploy team")
    make("other")

    assert names(page.get(place.url, {"q": "DEPLOY"})) == ["laptop", "Deploy from CI"]
    assert names(page.get(place.url, {"q": one.public_id[:8]})) == ["Deploy from CI"]
    assert names(page.get(place.url, {"q": f" {two.public_id} "})) == ["laptop"]
    response = page.get(place.url, {"q": "nowhere"})
    assert names(response) == []
    assert "matches." in text_of(response)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["acme_{}_{}", " ACME_{}_{} ", "acme_{}_{}_"])
def test_search_finds_an_id_with_its_prefix(page, place, make, form):
    key = make("leaked")
    make("other")
    term = form.format(key.KIND, key.public_id)

    assert names(page.get(place.url, {"q": term})) == ["leaked"]
    assert names(page.get(place.url, {"q": term.strip()[:14]})) == ["leaked"]
    for params in ({"q": term}, {"key": term}):
        found = page.get(f"{place.url}activity/", params).context["page"].rows
        assert {event.name for event in found} == {"leaked"}


@pytest.mark.parametrize("term", ["%", "_", "'", "\0", "x y" * 40])
def test_search_text_is_no_pattern(page, place, make, term):
    make("laptop")
    response = page.get(place.url, {"q": term})
    assert response.status_code == 200
    assert names(response) == []


@pytest.mark.parametrize("path", ["", "activity/"])
def test_whole_key_is_not_searched_and_leaves_the_url(page, place, ada, path):
    secret = mint_pat(ada).token
    response = page.get(place.url + path, {"q": secret})
    assert response.status_code == 302
    assert response["Location"] == place.url
    assert "Rotate it" in text_of(page.get(place.url))


@pytest.mark.slow
def test_filters_narrow_the_list(page, place, make):
    now = NOW()
    make("soon", expires_at=now + timedelta(days=3))
    make("later", expires_at=now + timedelta(days=20))
    old = now - timedelta(days=100)
    make("idle", created_at=old, last_used_at=old, last_used_on=old.date())
    make("unused", created_at=old)
    make("busy", created_at=old, last_used_at=now, last_used_on=now.date())
    make("writer", scopes=["payments:write"])
    make("reporter", scopes=["reports:read"])
    make("pending", is_pending=True)
    make("expired", expires_at=now)
    lifecycle.revoke(make("revoked"))

    def found(**params):
        return set(names(page.get(place.url, params)))

    assert found(expires="7") == {"soon"}
    assert found(expires="30") == {"soon", "later"}
    assert "soon" not in found(expires="never")
    assert found(used="not-90") == {"idle", "unused"}
    assert found(used="30") == {"busy"}
    assert "idle" not in found(used="never")
    assert found(scope="payments:write") == {"writer"}
    assert "writer" in found(scope="payments:read")
    assert found(scope="reports:read") == {"reporter"}
    assert found(state="pending") == {"pending"}
    assert found(state="expired") == {"expired"}
    assert found(state="revoked") == {"revoked"}
    assert found(state="ended") == {"expired", "revoked"}
    assert len(found(state="all")) == 10
    assert found(used="not-90", q="idl", state="all") == {"idle"}


@pytest.mark.slow
def test_tokens_are_filtered_by_project(page, ada, engine):
    other = MembershipFactory(user=ada, role="owner", project__slug="compiler").project
    mint_pat(ada, name="everywhere")
    mint_pat(ada, name="engine", projects=[engine])
    mint_pat(ada, name="both", projects=[engine, other])

    found = names(page.get(TOKENS, {"project": "compiler"}))
    assert found == ["both", "everywhere"]
    ProjectFactory(slug="not-mine")
    response = page.get(TOKENS, {"project": "not-mine"})
    assert names(response) == []
    assert "not-mine is not one of the available choices" in text_of(response)
    assert 'name="project"' not in page.get(KEYS).content.decode()


@pytest.mark.parametrize("name", ["state", "expires", "used", "scope", "sort"])
def test_unknown_value_lists_nothing(page, place, make, name):
    make("laptop")
    response = page.get(place.url, {name: "nonsense"})
    assert response.status_code == 200
    assert names(response) == []


@pytest.mark.slow
def test_list_is_sorted_and_paged_in_that_order(page, place, make):
    now = NOW()
    for n in range(25):
        used = now - timedelta(days=n // 2)
        end = now + timedelta(days=1 + n // 2) if n % 5 else None
        make(f"{'aB'[n % 2]}{n:02}", expires_at=end, last_used_at=used, last_used_on=used.date())
    far = now + timedelta(days=9999)
    keys = list(place.model.objects.all())
    orders = {
        "": sorted(keys, key=lambda k: -k.pk),
        "name": sorted(keys, key=lambda k: (k.name.lower(), k.pk)),
        "expires": sorted(keys, key=lambda k: (k.expires_at or far, k.pk)),
        "used": sorted(keys, key=lambda k: (k.last_used_at, k.pk), reverse=True),
        "idle": sorted(keys, key=lambda k: (k.last_used_at, k.pk)),
    }
    for sort, expected in orders.items():
        expected = [key.name for key in expected]
        first = page.get(place.url, {"sort": sort} if sort else {})
        assert names(first) == expected[:20], sort
        second = page.get(place.url + first.context["page"].next)
        assert names(second) == expected[20:], sort
        assert names(page.get(place.url + second.context["page"].previous)) == expected[:20]
        assert page.get(place.url, {"sort": sort, "after": "nosuchkey"}).context["rows"] == []


@pytest.mark.slow
def test_links_of_a_filtered_list_keep_the_filters(page, place, make):
    for n in range(21):
        make(f"job {n}")
    html = page.get(place.url, {"q": "job", "sort": "name"}).content.decode()
    assert f'href="{place.url}?q=job&amp;sort=name&amp;state=ended"' in html
    assert "?q=job&amp;sort=name&amp;after=" in html
    assert "21 " in text_of(page.get(place.url, {"q": "job", "sort": "name"}))


@pytest.mark.slow
def test_banner_names_keys_that_expire_within_seven_days(page, place, make):
    make("far", expires_at=NOW() + timedelta(days=8))
    assert "expires" not in banner(page.get(place.url))
    soon = make("near", expires_at=NOW() + timedelta(days=2, minutes=1))
    response = page.get(place.url)
    assert "near expires in 2 days." in banner(response)
    assert f"{place.url}{soon.public_id}/rotate/" in response.content.decode()
    for n in range(4):
        make(f"more {n}", expires_at=NOW() + timedelta(days=1, hours=n))
    assert re.search(r"5 (keys|tokens) expire within 7 days", banner(page.get(place.url)))
    lifecycle.rotate(soon)
    assert "near" not in banner(page.get(place.url))


def banner(response):
    found = re.search(r'(?s)<div class="ak-notice ak-warn">.*?</div>', response.content.decode())
    return " ".join(re.sub(r"<[^>]*>", "", found[0]).split()) if found else ""


@pytest.mark.slow
def test_thousand_tokens_take_as_many_queries_as_fifty(page, ada):
    now = NOW()

    def create(numbers):
        PersonalAccessToken.objects.bulk_create(
            PersonalAccessToken(
                user=ada,
                name=f"job {n}",
                scope="payments:read",
                created_at=now - timedelta(days=200),
                expires_at=now + timedelta(days=n % 300, hours=1) if n % 3 else None,
            )
            for n in numbers
        )

    def queries(params):
        with CaptureQueriesContext(connection) as caught:
            assert len(names(page.get(TOKENS, params))) == 20
        assert sum(float(query["time"]) for query in caught.captured_queries) < 0.5
        return len(caught)

    searches = ({}, {"q": "job 9", "used": "not-90", "sort": "name", "scope": "payments:read"})
    create(range(900, 950))
    page.get(TOKENS)
    few = [queries(params) for params in searches]
    create([*range(900), *range(950, 1000)])
    assert [queries(params) for params in searches] == few


@pytest.mark.slow
def test_keys_that_expired_lately_are_counted_above_the_active_ones(page, place, make):
    now = NOW()
    for name, days in (("one", 1), ("two", 6), ("long ago", 8)):
        make(name, expires_at=now - timedelta(days=days))
    make("replaced", expires_at=now - timedelta(days=1), rotated_at=now - timedelta(days=2))
    make("revoked", expires_at=now - timedelta(days=1), revoked_at=now)
    make("pending", expires_at=now - timedelta(days=1), is_pending=True)
    noun = "token" if place.url == TOKENS else "key"
    told = f"3 {noun}s expired in the last 7 days."
    found = f"{place.url}?state=expired&expires=past-7"

    active = page.get(place.url)
    assert told in text_of(active)
    assert f'href="{found.replace("&", "&amp;")}"' in active.content.decode()
    assert names(page.get(found)) == ["pending", "one", "two"]
    for params in ({"state": "ended"}, {"state": "all"}, {"state": "expired", "expires": "past-7"}):
        assert told not in text_of(page.get(place.url, params))

    place.model.objects.filter(name__in=["two", "pending"]).delete()
    response = page.get(place.url)
    assert "one expired 1 day ago . Create a replacement" in text_of(response)
    only = place.model.objects.get(name="one").public_id
    assert f'href="{place.url}{only}/"' in response.content.decode()
    assert f'href="{place.url}new/?from={only}"' in response.content.decode()
    assert "Show all" not in text_of(response)
    place.model.objects.filter(name="one").delete()
    text = text_of(page.get(place.url))
    assert "in the last 7 days." not in text
    assert "expired 1 day ago" not in text


def test_keys_of_others_that_expired_lately_are_not_counted(page, place):
    theirs = mint_pat().key, mint_key().key
    for key in theirs:
        type(key).objects.filter(pk=key.pk).update(expires_at=NOW() - timedelta(days=1))
    assert "in the last 7 days." not in text_of(page.get(place.url))


@pytest.mark.slow
@pytest.mark.parametrize("days", [30, 90])
def test_a_list_of_unused_keys_says_which_never_used_ones_it_has(page, place, make, days):
    told = f"were never used count only if they are older than {days} days."
    assert told in text_of(page.get(place.url, {"used": f"not-{days}"}))
    make("old", created_at=NOW() - timedelta(days=days + 1))
    make("new")
    response = page.get(place.url, {"used": f"not-{days}"})
    assert names(response) == ["old"]
    assert told in text_of(response)
    for used in ("never", "30", "not-x"):
        assert "count only if" not in text_of(page.get(place.url, {"used": used}))


@pytest.mark.slow
def test_ended_keys_are_sorted_by_the_moment_of_their_end(page, place, make):
    now = NOW()
    make("revoked first", revoked_at=now - timedelta(days=9))
    make("revoked last", revoked_at=now - timedelta(days=1), expires_at=now - timedelta(days=20))
    make("expired between", expires_at=now - timedelta(days=5))
    make("active")
    last_first = ["revoked last", "expired between", "revoked first"]
    assert names(page.get(place.url, {"state": "ended"})) == last_first
    assert names(page.get(place.url, {"state": "revoked"})) == ["revoked last", "revoked first"]
    by_creation = page.get(place.url, {"state": "ended", "sort": "created"})
    assert names(by_creation) == ["expired between", "revoked last", "revoked first"]
    # The link to another state keeps the order, which is valid there too.
    assert names(page.get(place.url, {"state": "", "sort": "created"})) == ["active"]
    assert "Latest end first" in text_of(page.get(place.url, {"state": "ended"}))
    assert "Latest end first" not in text_of(page.get(place.url))


@pytest.mark.slow
def test_thousand_ended_tokens_are_paged_by_their_end(page, ada):
    now = NOW()
    PersonalAccessToken.objects.bulk_create(
        PersonalAccessToken(
            user=ada,
            name=f"job {n}",
            scope="payments:read",
            created_at=now - timedelta(days=200),
            expires_at=now - timedelta(minutes=1 + n * 7 % 1000 // 2) if n % 2 else None,
            revoked_at=None if n % 2 else now - timedelta(minutes=1 + n * 7 % 1000 // 2),
        )
        for n in range(1000)
    )
    url, counts, seen = f"{TOKENS}?state=ended", set(), []
    while url:
        with CaptureQueriesContext(connection) as caught:
            response = page.get(url)
        assert sum(float(query["time"]) for query in caught.captured_queries) < 0.5
        counts.add(len(caught))
        rows = [row["key"] for row in response.context["rows"]]
        seen += [(key.revoked_at or key.expires_at, key.pk) for key in rows]
        following = response.context["page"].next
        url = TOKENS + following if following else ""
    assert len(seen) == 1000
    assert seen == sorted(seen, reverse=True)
    assert max(counts) - min(counts) <= 1  # a later page looks up the last row of the one before


def test_filters_in_use_are_named_above_the_list_and_stay_closed(page, place, make):
    make("soon", expires_at=NOW() + timedelta(days=3))
    html = page.get(place.url, {"expires": "7", "scope": "payments:read"}).content.decode()
    summary = re.search(r"(?s)<details>\s*<summary>(.*?)</summary>", html)[1]
    told = " ".join(re.sub(r"<[^>]*>", "", summary).split())
    assert told == "Filter and sort (2) Expiry: Within 7 days Permission: See payments"
    html = page.get(place.url, {"expires": "<b>"}).content.decode()
    assert "<details open>" in html
    assert "Expiry: &lt;b&gt;" in html
