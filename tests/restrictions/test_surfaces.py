"""Every surface takes each restriction from its declaration, and shows it."""

import json
from html.parser import HTMLParser

import pytest
from django.utils import timezone
from oauth2_provider.models import Application

from apikeys import restrictions
from apikeys.importing import csv_keys
from apikeys.importing.csv_keys import RESTRICTED
from apikeys.importing.importer import Importer
from apikeys.models import AuditEvent, PersonalAccessToken, ProjectKey
from apikeys.restrictions import RESTRICTIONS
from tests.factories import UserFactory, mint_key, mint_pat
from tests.restrictions import MODULES, NARROW, WIDER
from tests.web.conftest import KEYS, TOKENS, open_form, text_of

each_restriction = pytest.mark.parametrize("restriction", RESTRICTIONS, ids=lambda each: each.name)
pytestmark = pytest.mark.django_db
LEGACY_TEXT = "sk-live-8f14e45fceea167a5a36dedd4bea2543"


class Entered(HTMLParser):
    """What a form of a page holds: the values that a browser sends."""

    def __init__(self, response):
        super().__init__()
        self.values, self._area = {}, None
        self.feed(response.content.decode())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        name, kind = attrs.get("name"), attrs.get("type")
        if tag == "textarea":
            self._area, self.values[name] = name, ""
        elif tag == "input" and name and kind not in ("submit", "button"):
            if kind not in ("checkbox", "radio"):
                self.values[name] = attrs.get("value", "")
            elif "checked" in attrs:
                self.values.setdefault(name, []).append(attrs.get("value", "on"))

    def handle_data(self, data):
        if self._area:
            self.values[self._area] += data

    def handle_endtag(self, tag):
        if tag == "textarea":
            self._area = None


@pytest.fixture
def page(client, ada):
    client.force_login(ada)
    return client


@pytest.fixture(params=["token", "project-key"])
def place(request, ada, engine):
    """Where keys of either kind are managed, and what mints one there."""
    if request.param == "token":
        return TOKENS, PersonalAccessToken, lambda **kw: mint_pat(ada, **kw).key
    return KEYS, ProjectKey, lambda **kw: mint_key(engine, **kw).key


def stored(restriction):
    return restriction.parse(NARROW[restriction.name])


@each_restriction
def test_what_the_form_of_one_key_shows_makes_another_with_the_same(restriction, page, place):
    url, model, make = place
    key = make(**{restriction.name: NARROW[restriction.name]})
    shown = Entered(page.get(f"{url}{key.public_id}/edit/")).values

    shown |= open_form(page, f"{url}") | {"name": "another", "expiry": "30"}
    response = page.post(f"{url}new/", shown)

    assert response.status_code == 200
    other = model.objects.get(name="another")
    assert getattr(other, restriction.name) == stored(restriction)


@each_restriction
def test_saving_the_form_as_it_is_changes_nothing(restriction, page, place):
    url, model, make = place
    key = make(**{restriction.name: NARROW[restriction.name]})
    shown = Entered(page.get(f"{url}{key.public_id}/edit/")).values

    response = page.post(f"{url}{key.public_id}/edit/", shown, follow=True)

    assert "was not changed." in text_of(response)
    assert getattr(model.objects.get(), restriction.name) == stored(restriction)


@pytest.mark.slow
@each_restriction
def test_the_summary_and_the_page_of_a_key_say_the_restriction(restriction, page, place):
    url, _, make = place
    key = make(**{restriction.name: NARROW[restriction.name]})
    shown = Entered(page.get(f"{url}{key.public_id}/edit/")).values
    shown |= open_form(page, f"{url}") | {"expiry": "30"}

    review = text_of(page.post(f"{url}new/", shown | {"step": "review"}))
    of_key = text_of(page.get(f"{url}{key.public_id}/"))
    of_other = text_of(page.get(f"{url}{make().public_id}/"))

    assert restriction.sentence(stored(restriction)) in review
    assert str(restriction.label) in of_key
    assert restriction.display(stored(restriction)) in of_key
    assert str(restriction.label) not in of_other


@each_restriction
def test_a_value_that_is_not_one_is_an_error_of_its_field(restriction, page, place):
    url, _, make = place
    shown = Entered(page.get(f"{url}{make().public_id}/edit/")).values
    if restriction.json.type is bool:
        pytest.skip("A box is ticked or not.")

    shown |= open_form(page, f"{url}") | {"expiry": "30", restriction.field_name: "nonsense"}
    response = page.post(f"{url}new/", shown)

    assert response.status_code == 422
    assert f'id="id_{restriction.field_name}_error"' in response.content.decode()


@each_restriction
@pytest.mark.parametrize("model", ["personalaccesstoken", "projectkey"])
def test_the_admin_shows_and_edits_each_restriction(restriction, model, client):
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    make = mint_pat if model == "personalaccesstoken" else mint_key
    narrow, free = make(**{restriction.name: NARROW[restriction.name]}).key, make().key
    url = f"/admin/apikeys/{model}/"
    shown = Entered(client.get(f"{url}{narrow.pk}/change/")).values
    own = Entered(client.get(f"{url}{free.pk}/change/")).values
    names = {name for name in (*shown, *own) if name.startswith(restriction.name)}

    client.post(f"{url}{narrow.pk}/change/", shown)
    changed = own | {name: shown[name] for name in names if name in shown}
    client.post(f"{url}{free.pk}/change/", changed)

    assert restriction.as_json(stored(restriction)) != restriction.as_json(restriction.empty)
    for key in (narrow, free):
        key.refresh_from_db()
        assert getattr(key, restriction.name) == stored(restriction)
    assert [event.public_id for event in AuditEvent.objects.filter(event="edited")] == [
        free.public_id
    ]


@each_restriction
def test_the_admin_finds_a_refused_key_by_its_whole_text(restriction, client):
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    minted = MODULES[restriction.name].refused_key()

    found = client.post("/admin/apikeys/projectkey/find/", {"key": minted.token})

    assert found.headers["Location"] == f"/admin/apikeys/projectkey/{minted.key.pk}/change/"


@each_restriction
def test_a_client_revokes_a_refused_key_over_oauth(restriction, client):
    minted = MODULES[restriction.name].refused_key()
    service = Application.objects.create(
        client_id="service",
        client_secret="secret",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )

    form = {"token": minted.token, "client_id": service.client_id, "client_secret": "secret"}
    client.post("/o/revoke_token/", form)

    minted.key.refresh_from_db()
    assert minted.key.revoked_at is not None


@each_restriction
def test_the_json_api_makes_and_edits_a_key_with_each_restriction(restriction, page):
    name = restriction.name
    narrow = restriction.as_json(stored(restriction))
    body = {"name": "laptop", "scopes": ["payments:read"], name: narrow}

    made = page.post("/api/tokens/", json.dumps(body), content_type="application/json")
    url = f"/api/tokens/{made.json()['id']}/"
    wider = restriction.as_json(restriction.parse(WIDER[name]))
    edited = page.patch(url, json.dumps({name: wider}), content_type="application/json")

    assert (made.status_code, made.json()[name]) == (201, narrow)
    assert (edited.status_code, edited.json()[name]) == (200, wider)


@pytest.mark.parametrize("restriction", RESTRICTED, ids=lambda each: each.name)
def test_an_imported_key_has_the_restrictions_of_its_line(restriction, ada):
    narrow = restriction.as_json(stored(restriction))
    cell = " ".join(narrow) if restriction.option.repeats else narrow
    lines = ["key,user,scopes," + restriction.name, f"{LEGACY_TEXT},ada,payments:read,{cell}"]

    (outcome,) = Importer("csv").run(csv_keys.read(lines))

    assert outcome.outcome == "imported"
    assert getattr(PersonalAccessToken.objects.get(), restriction.name) == stored(restriction)
    assert AuditEvent.objects.get(event="imported").changes[restriction.name] == narrow


@pytest.mark.parametrize("restriction", RESTRICTED, ids=lambda each: each.name)
def test_a_line_with_another_value_is_skipped_and_not_repeated(restriction, ada):
    lines = ["key,user,scopes," + restriction.name, f"{LEGACY_TEXT},ada,payments:read,nonsense"]

    (outcome,) = Importer("csv").run(csv_keys.read(lines))

    assert outcome.outcome == "invalid_line"
    assert restriction.name in outcome.detail
    assert "nonsense" not in outcome.detail
    assert not PersonalAccessToken.objects.exists()


def test_a_key_that_does_not_work_yet_is_marked_on_every_page(page, place, monkeypatch):
    url, _, make = place
    key = make(rate_limits=["5/hour"])
    monkeypatch.setattr(restrictions.rates.RateLimits, "pause", lambda *args: "waits for spring")

    pages = [url, f"{url}{key.public_id}/"]

    assert all("waits for spring" in text_of(page.get(each)) for each in pages)
    (pause,) = restrictions.pauses(restrictions.of(key), timezone.now())
    assert pause == ("waits for spring", restrictions.BY_NAME["rate_limits"].sentence("5/hour"))
    assert restrictions.pauses(restrictions.EMPTY, timezone.now()) == []
