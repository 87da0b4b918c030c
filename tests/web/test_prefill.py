"""Links, presets and other keys fill in the form of a new key, and do nothing else."""

import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from apikeys import lifecycle
from apikeys.conf import app_settings
from apikeys.models import PersonalAccessToken
from apikeys.policy import Policy
from apikeys.restrictions import RESTRICTIONS
from tests.factories import MembershipFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, mint, open_form, text_of


class Strict(Policy):
    def longest_lifetime(self, owner):
        return timedelta(days=60)

    def most_live_keys(self, owner):
        return 2


@pytest.fixture
def strict(settings):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": Strict}


def filled(response):
    """Return the values that the form shows."""
    form = response.context["form"]
    names = ("name", "description", "expiry", "expires_on", "scopes", "reach", "projects")
    return {name: form[name].value() for name in names if name in form.fields}


def test_link_fills_in_the_form_and_creates_nothing(page, place):
    url = f"{place.url}new/?name=CI&description=Nightly&scope=payments:read&scope=reports:read"
    response = page.get(f"{url}&expires=30")
    values = filled(response)
    assert (values["name"], values["description"], values["expiry"]) == ("CI", "Nightly", "30")
    assert values["scopes"] == ["payments:read", "reports:read"]
    assert "A link filled in this form." in text_of(response)
    assert place.model.objects.count() == 0
    assert filled(page.get(f"{place.url}new/?scope=payments:read+reports:read"))["scopes"] == [
        "payments:read",
        "reports:read",
    ]


def test_plain_form_is_not_said_to_be_filled_in(page, place):
    assert "A link filled in" not in text_of(page.get(f"{place.url}new/"))


def test_link_offers_no_more_than_the_form(client, viewer, strict):
    client.force_login(viewer)
    link = "?scope=payments:write&scope=payments:read&scope=nonsense&expires=90&project=not-mine"
    response = client.get(f"{TOKENS}new/{link}")
    values = filled(response)
    assert values["scopes"] == ["payments:read"]
    assert values["expiry"] == "30"
    assert (values["reach"], values["projects"]) == ("selected", [])
    left_out = "payments:write, nonsense, not-mine, the expiry"
    assert f"Left out, because you cannot grant it here: {left_out}." in text_of(response)
    assert 'value="payments:write"' not in response.content.decode()


@pytest.mark.parametrize(
    ("expires", "expiry"),
    [
        ("30", "30"),
        ("45", "custom"),
        ("2030-01-31", "custom"),
        ("never", "none"),
        ("1h", "1h"),
        ("99h", "99h"),
    ],
)
def test_link_chooses_an_expiry(page, place, expires, expiry):
    values = filled(page.get(f"{place.url}new/?expires={expires}"))
    assert values["expiry"] == expiry
    if expires == "2030-01-31":
        assert str(values["expires_on"]) == expires


@pytest.mark.parametrize(
    "expires",
    [
        "-1",
        "0x1",
        "²",
        "99999999999",
        "1999-01-01",
        "custom",
        "\0",
        "0h",
        "100h",
        "1H",
        "²h",
        "1h ",
    ],
)
def test_invalid_expiry_of_a_link_is_left_out(page, place, expires):
    response = page.get(f"{place.url}new/", {"expires": expires})
    assert filled(response)["expiry"] == "30"
    assert "the expiry" in text_of(response)


def test_text_of_a_link_is_escaped_and_cut(page, place):
    html = page.get(f"{place.url}new/", {"name": "<script>" * 100, "scope": "<b>"}).content.decode()
    assert "<script>&lt;" not in html
    assert "<script><script>" not in html
    assert "<b>" not in html


def test_link_with_a_key_is_not_shown(page, place, ada):
    secret = mint_pat(ada).token
    response = page.get(f"{place.url}new/", {"name": secret})
    assert response.status_code == 302
    assert secret not in response["Location"]


def test_link_survives_the_confirmation_of_the_password(page, place, settings, monkeypatch):
    monkeypatch.setattr("apikeys.web.sudo._is_recent", lambda moment: False)
    response = page.get(f"{place.url}new/?name=CI&expires=30")
    assert "%3Fname%3DCI%26expires%3D30" in response["Location"]


def test_presets_of_the_site_fill_in_the_form(page, place, settings):
    preset = {"name": "nightly", "scopes": ["reports:read", "gone:read"], "expires": 90}
    settings.APIKEYS = settings.APIKEYS | {"PRESETS": {"Nightly report": preset}}
    response = page.get(f"{place.url}new/")
    assert "Start with: Nightly report" in text_of(response)
    assert 'name="preset" value="nightly-report"' in response.content.decode()
    response = page.get(f"{place.url}new/?preset=nightly-report")
    values = filled(response)
    assert (values["name"], values["expiry"], values["scopes"]) == (
        "nightly",
        "90",
        ["reports:read"],
    )
    assert "gone:read" in text_of(response)
    assert "A link filled in" not in text_of(response)
    assert filled(page.get(f"{place.url}new/?preset=nonsense"))["name"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {"a": []},
        {"a": {"nonsense": 1}},
        {"a": {"scopes": "x"}},
        {"a": {"expires": "1"}},
        {"a": {"expires": "100h"}},
        {"a": {"expires": True}},
        {"a": {"expires": ["1h"]}},
        {"a": {"projects": "all"}},
    ],
)
def test_invalid_presets_are_a_check_error(settings, wrong):
    settings.APIKEYS = settings.APIKEYS | {"PRESETS": wrong}
    assert "apikeys.E094" in [error.id for error in app_settings.errors()]


class TestAgent:
    """A token for an agent: read scopes, one project, one hour."""

    def submit(self, page, **changes):
        form = {"name": "Agent", "scopes:payments": "payments:read", "expiry": "1h"}
        form |= {"reach": "selected", "projects": ["analytical-engine"]}
        return mint(page, SimpleNamespace(url=TOKENS, form=form), **changes)

    def test_preset_chooses_an_hour_and_the_only_project(self, page, ada, engine):
        assert "An agent, for an hour" in text_of(page.get(f"{TOKENS}new/"))
        response = page.get(f"{TOKENS}new/?preset=agent")
        values = filled(response)
        assert (values["expiry"], values["reach"]) == ("1h", "selected")
        assert values["projects"] == ["analytical-engine"]
        assert values["scopes"] == ["payments:read", "reports:read"]
        assert "1 hour" in text_of(response)
        assert "Left out" not in text_of(response)

    def test_user_selects_one_of_several_projects(self, page, ada, engine):
        MembershipFactory(user=ada, project__slug="two")
        values = filled(page.get(f"{TOKENS}new/?preset=agent"))
        assert (values["reach"], values["projects"]) == ("selected", [])
        assert self.submit(page, projects=[]).status_code == 422
        assert PersonalAccessToken.objects.count() == 0

    def test_token_ends_after_an_hour(self, page, ada, engine):
        assert self.submit(page).status_code == 200
        key = PersonalAccessToken.objects.get()
        assert abs(key.expires_at - key.created_at - timedelta(hours=1)) < timedelta(minutes=1)
        assert [project.slug for project in key.reach()] == ["analytical-engine"]
        # A copy lives no longer.
        assert filled(page.get(f"{TOKENS}new/?from={key.public_id}"))["expiry"] == "1h"

    @pytest.mark.parametrize("expiry", ["0h", "100h", "1h1h", "h", "-1h"])
    def test_other_hours_are_refused(self, page, ada, engine, expiry):
        assert self.submit(page, expiry=expiry).status_code == 422
        assert PersonalAccessToken.objects.count() == 0

    @pytest.mark.slow
    def test_hours_stay_within_the_policy(self, page, ada, engine, settings):
        class Short(Policy):
            def longest_lifetime(self, owner):
                return timedelta(minutes=30)

        settings.APIKEYS = settings.APIKEYS | {"POLICY": Short}
        response = page.get(f"{TOKENS}new/?preset=agent")
        assert filled(response)["expiry"] != "1h"
        assert "the expiry" in text_of(response)
        assert self.submit(page).status_code == 422

    def test_preset_offers_no_scope_that_the_user_lacks(self, client, viewer):
        client.force_login(viewer)
        response = client.get(f"{TOKENS}new/?preset=agent")
        assert set(filled(response)["scopes"]) <= {"payments:read", "reports:read"}


@pytest.fixture
def full(place, ada, engine):
    """A key with every restriction."""
    terms = {
        "name": "server",
        "description": "Nightly.",
        "scopes": ["payments:write"],
        "expires_at": timezone.now() + timedelta(days=90, seconds=5),
        "allowed_networks": ["203.0.113.0/24"],
        "rate_limits": ["9/second"],
    }
    if place.model is PersonalAccessToken:
        return mint_pat(ada, projects=[engine], **terms).key
    return mint_key(engine, **terms).key


@pytest.mark.slow
def test_replacement_of_an_ended_key_has_its_terms(page, place, full, ada):
    lifecycle.revoke(full)
    detail = page.get(f"{place.url}{full.public_id}/")
    assert "Create a replacement" in text_of(detail)
    link = f"{place.url}new/?from={full.public_id}"
    assert f'href="{link}"' in detail.content.decode()
    assert f'href="{link}"' in page.get(place.url, {"state": "ended"}).content.decode()

    response = page.get(link)
    values = filled(response)
    assert (values["name"], values["description"]) == ("server", "Nightly.")
    assert (values["scopes"], values["expiry"]) == (["payments:write"], "90")
    assert response.context["form"]["allowed_networks"].value() == "203.0.113.0/24"
    assert response.context["form"]["rate_limits"].value() == "9/second"
    if place.model is PersonalAccessToken:
        assert (values["reach"], values["projects"]) == ("selected", ["analytical-engine"])
    assert "You get a new secret." in text_of(response)
    html = response.content.decode()
    assert '<details class="ak-more" open>' in html
    for value in ("203.0.113.0/24", "9/second"):
        assert value in html


def test_copy_names_a_restriction_that_the_form_does_not_offer(page, place, full, monkeypatch):
    """Or the copy would be wider without a word."""
    rates = next(each for each in RESTRICTIONS if each.name == "rate_limits")
    monkeypatch.setattr(type(rates), "is_offered", lambda self: False)
    text = text_of(page.get(f"{place.url}new/?from={full.public_id}"))
    assert "Left out, because you cannot grant it here: Rate limits" in text


def test_active_key_can_be_duplicated(page, place, full):
    assert "Duplicate" in text_of(page.get(f"{place.url}{full.public_id}/"))
    assert filled(page.get(f"{place.url}new/?from={full.public_id}"))["name"] == "server (copy)"


def test_key_of_somebody_else_fills_in_nothing(page, place, ada):
    foreign = (mint_pat() if place.model is PersonalAccessToken else mint_key()).key
    lifecycle.edit(foreign, name="secret plan")
    for public_id in (foreign.public_id, "nonsense", "\0"):
        response = page.get(f"{place.url}new/", {"from": public_id})
        assert "secret plan" not in response.content.decode()
        assert filled(response)["name"] is None


def test_replacement_leaves_out_what_the_user_lost(client, engine):
    member = MembershipFactory(project=engine, role="owner")
    key = mint_pat(member.user, scopes=["payments:write"], projects=[engine]).key
    member.role = "viewer"
    member.save()
    client.force_login(member.user)
    response = client.get(f"{TOKENS}new/?from={key.public_id}")
    assert filled(response)["scopes"] == []
    assert "Left out, because you cannot grant it here: payments:write" in text_of(response)


def test_viewer_is_not_offered_a_replacement(client, viewer, engine):
    key = mint_key(engine).key
    lifecycle.revoke(key)
    client.force_login(viewer)
    assert "Create a replacement" not in text_of(client.get(f"{KEYS}{key.public_id}/"))


def test_number_of_keys_is_stated_before_the_form(page, place, strict, ada, engine):
    noun = "tokens" if place.model is PersonalAccessToken else "keys"
    assert f"0 of at most 2 {noun}. Paused and pending" in text_of(page.get(f"{place.url}new/"))
    soon = timezone.now() + timedelta(days=9)
    for _ in range(2):
        if place.model is PersonalAccessToken:
            mint_pat(ada, expires_at=soon)
        else:
            mint_key(engine, expires_at=soon)
    assert f"The limit of 2 {noun} is reached." in text_of(page.get(f"{place.url}new/"))


@pytest.mark.slow
def test_summary_warns_of_an_active_key_with_the_same_name(page, place):
    mint(page, place)
    form = place.form | open_form(page, place.url)
    assert "active" in text_of(page.post(f"{place.url}new/", form | {"step": "summary"}))
    told = text_of(page.post(f"{place.url}new/", form | {"step": "review"}))
    assert "already" in told
    assert "named laptop" in told
    other = form | {"step": "summary", "name": "desk"}
    assert "already" not in text_of(page.post(f"{place.url}new/", other))


def test_all_errors_are_shown_at_once_and_name_each_bad_network(page, place):
    changes = {"name": "", "scopes:payments": "", "rate_limits": "often", "expiry": ""}
    response = mint(page, place, allowed_networks="1.2.3.4/8 203.0.113.0/24 x.y", **changes)
    told = text_of(response)
    for error in (
        "Enter a name.",
        "Choose an expiry.",
        "Choose at least one permission.",
        "1.2.3.4/8 has host bits set. Did you mean 1.0.0.0/8?",
        "x.y is not an IP range.",
        "often is not a rate limit.",
    ):
        assert error in told, error


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "", "rate_limits": "often"}, 'name="name"'),
        ({"scopes:payments": "", "rate_limits": "often"}, 'name="scopes:payments"'),
        ({"rate_limits": "often"}, 'name="rate_limits"'),
    ],
)
def test_first_error_gets_the_focus(page, place, changes, field):
    html = mint(page, place, **changes).content.decode()
    (tag,) = (tag for tag in re.findall(r"<(?:input|textarea)[^>]*>", html) if "autofocus" in tag)
    assert field in tag


@pytest.mark.slow
def test_own_address_is_shown_beside_the_ip_ranges(page, place):
    mint(page, place)
    for path in ("new/", f"{place.model.objects.get().public_id}/edit/"):
        assert "Your current address is 127.0.0.1" in text_of(page.get(place.url + path))


def test_page_with_the_secret_repeats_the_terms_and_shows_examples(page, place):
    told = text_of(mint(page, place))
    assert "Permissions See payments" in told
    assert "in 30 days" in told
    for words in ("curl -H", "import requests", "await fetch(", "Test it now"):
        assert words in told


class TestMoreOptions:
    """Fields that few keys need are folded, unless there is something to see in them."""

    FOLDED = '<details class="ak-more">'
    OPEN = '<details class="ak-more" open>'

    def test_new_form_folds_them_and_names_them(self, page, place):
        response = page.get(f"{place.url}new/")
        html = response.content.decode()
        assert self.FOLDED in html
        assert html.index('name="allowed_networks"') < html.index(self.FOLDED)
        for name in ("not_before", "rate_limits", "exchange_only", "metadata"):
            assert html.index(f'name="{name}"') > html.index(self.FOLDED)
        assert "More options Starts on, Rate limits, Exchange only, Metadata" in text_of(response)

    @pytest.mark.parametrize(
        "changes",
        [
            {"rate_limits": "soon"},
            {"metadata": "{"},
            {"exchange_only": "on", "name": ""},
            {"not_before": "2999-01-01", "name": ""},
        ],
    )
    def test_error_or_entry_unfolds_them(self, page, place, changes):
        response = mint(page, place, **changes)
        assert response.status_code == 422
        assert self.OPEN in response.content.decode()

    def test_other_error_leaves_them_folded(self, page, place):
        response = mint(page, place, name="")
        assert response.status_code == 422
        assert self.FOLDED in response.content.decode()

    @pytest.mark.parametrize("has_some", [True, False])
    def test_edit_unfolds_what_the_key_has(self, page, place, ada, engine, has_some):
        terms = {"metadata": {"team": "x"}} if has_some else {}
        is_token = place.model is PersonalAccessToken
        key = (mint_pat(ada, **terms) if is_token else mint_key(engine, **terms)).key
        html = page.get(f"{place.url}{key.public_id}/edit/").content.decode()
        assert (self.OPEN if has_some else self.FOLDED) in html


@pytest.mark.parametrize(("interval", "is_said"), [(5, True), (3600, False), (None, False)])
def test_test_of_a_secret_is_said_to_count(page, place, settings, interval, is_said):
    settings.APIKEYS = settings.APIKEYS | {"LAST_USED_INTERVAL": interval}
    assert ("The test counts as a request." in text_of(mint(page, place))) is is_said


def test_long_list_of_permissions_is_collapsed(page, place, settings):
    scopes = {f"thing{n}:read": f"See thing {n}" for n in range(40)}
    settings.APIKEYS = settings.APIKEYS | {"SCOPES": scopes}
    html = page.get(f"{place.url}new/?scope=thing39:read").content.decode()
    assert "32 more resources" in html
    assert html.index('value="thing39:read"') < html.index('<details class="ak-rest"')
    assert html.count('value="thing3:read"') == 1


PRESETS = {
    "CI": {"name": "CI", "description": "Builds.", "scopes": ["payments:read"], "expires": 30},
    "Agent": {"name": "Agent", "scopes": ["reports:read"], "expires": "1h"},
}


class TestPresetsKeepWhatWasEntered:
    @pytest.fixture(autouse=True)
    def presets(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"PRESETS": PRESETS}

    def choose(self, page, place, preset, **entered):
        data = open_form(page, place.url) | {"preset": preset} | entered
        return page.post(f"{place.url}new/", data)

    def test_name_and_description(self, page, place):
        response = self.choose(page, place, "ci", name="Desk", description="Mine.")
        values = filled(response)
        assert (values["name"], values["description"]) == ("Desk", "Mine.")
        assert (values["scopes"], values["expiry"]) == (["payments:read"], "30")
        assert response.status_code == 200
        assert "ak-error" not in response.content.decode()
        assert place.model.objects.count() == 0

    def test_empty_texts_are_filled_in(self, page, place):
        values = filled(self.choose(page, place, "ci", name="", description="Mine."))
        assert (values["name"], values["description"]) == ("CI", "Mine.")

    @pytest.mark.slow
    def test_another_preset_replaces_the_texts_of_the_first(self, page, place):
        first = {"name": "CI", "description": "Mine.", "scopes:payments": "payments:read"}
        response = self.choose(page, place, "agent", expiry="30", **first)
        values = filled(response)
        assert (values["name"], values["description"]) == ("Agent", "Mine.")
        assert (values["scopes"], values["expiry"]) == (["reports:read"], "1h")
        values = filled(self.choose(page, place, "nonsense", name="Desk", expiry="1h"))
        assert (values["name"], values["expiry"]) == ("Desk", "1h")

    def test_other_fields_stay_and_a_date_gives_way_to_the_expiry(self, page, place):
        entered = {"allowed_networks": "203.0.113.0/24", "metadata": '{"a": 1}'}
        day = (timezone.now() + timedelta(days=9)).date().isoformat()
        response = self.choose(page, place, "ci", expiry="custom", expires_on=day, **entered)
        html = response.content.decode()
        assert "203.0.113.0/24</textarea>" in html
        assert "{&quot;a&quot;: 1}</textarea>" in html
        assert filled(response)["expires_on"] is None
        assert day not in html

    def test_the_form_then_creates_the_key(self, page, place):
        entered = place.form | {"name": "Desk", "scopes:payments": ""}
        response = self.choose(page, place, "ci", **entered)
        once = re.search(r'name="once" value="([^"]+)"', response.content.decode())[1]
        made = page.post(f"{place.url}new/", place.form | {"once": once, "name": "Desk"})
        assert made.status_code == 200
        assert place.model.objects.get().name == "Desk"

    def test_a_pasted_secret_is_not_shown_again(self, page, place, ada):
        secret = mint_pat(ada).token
        html = self.choose(page, place, "ci", name=secret).content.decode()
        assert secret not in html
        assert secret[-30:] not in html

    def test_private_key_is_not_shown_again(self, page, engine):
        place = SimpleNamespace(url=KEYS)
        pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA\n-----END PRIVATE KEY-----"
        html = self.choose(page, place, "ci", public_key=pem).content.decode()
        assert "MC4CAQAwBQYDK2VwBCIEIA" not in html

    def test_viewer_gets_nothing_more(self, client, viewer, engine):
        client.force_login(viewer)
        assert client.post(f"{KEYS}new/", {"preset": "ci", "name": "Desk"}).status_code == 403

    def test_a_login_is_needed_first(self, page, place, monkeypatch):
        monkeypatch.setattr("apikeys.web.sudo._is_recent", lambda moment: False)
        response = page.post(f"{place.url}new/", {"preset": "ci", "name": "Desk"})
        assert response.status_code == 302
        assert place.model.objects.count() == 0
