"""Creating or widening a key requires a recent log-in, and keeps the form data meanwhile."""

import time
from datetime import timedelta

import pytest

from apikeys.checks import check_settings
from apikeys.checks.pages import check_pages
from apikeys.models import AttemptCount
from apikeys.web import sudo
from tests.factories import PASSWORD, MembershipFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, open_form, text_of

CONFIRM = f"{TOKENS}confirm/"


@pytest.fixture
def age(page):
    """Return a function that makes the log-in some minutes old."""

    def age(minutes):
        session = page.session
        session["apikeys_logged_in_at"] = time.time() - minutes * 60
        session.save()

    return age


def is_asked(response, url):
    return response.status_code == 302 and response["Location"] == f"{CONFIRM}?next={url}".replace(
        url, url.replace("/", "%2F")
    )


def test_log_in_is_recent_until_sudo_max_age(page, place, age):
    age(14)
    assert page.get(f"{place.url}new/").status_code == 200
    age(16)
    assert is_asked(page.get(f"{place.url}new/"), f"{place.url}new/")


def test_sudo_max_age_is_a_setting(page, place, age, settings):
    settings.APIKEYS = settings.APIKEYS | {"SUDO_MAX_AGE": timedelta(hours=1)}
    age(59)
    assert page.get(f"{place.url}new/").status_code == 200
    age(61)
    assert is_asked(page.get(f"{place.url}new/"), f"{place.url}new/")


def test_session_without_log_in_time_must_confirm(page, place):
    session = page.session
    del session["apikeys_logged_in_at"]
    session.save()
    assert is_asked(page.get(f"{place.url}new/"), f"{place.url}new/")


def test_log_in_time_in_the_future_is_ignored(page, place, age):
    age(-10)
    assert is_asked(page.get(f"{place.url}new/"), f"{place.url}new/")


def test_form_data_is_kept_during_the_confirmation(page, place, age):
    form = place.form | open_form(page, place.url) | {"name": "typed with care"}
    age(16)

    url = f"{place.url}new/"
    assert is_asked(page.post(url, form), url)
    assert not place.model.objects.exists()
    back = page.post(CONFIRM, {"password": PASSWORD, "next": url})
    assert back["Location"] == url
    again = page.get(url)

    assert 'value="typed with care"' in again.content.decode()
    assert "payments:read" in again.context["form"]["scopes"].value()
    assert "Your entries are still here" in text_of(again)
    # Only once: the next form is empty.
    assert "typed with care" not in page.get(url).content.decode()


def test_form_data_of_another_page_is_not_shown(page, age, ada, engine):
    age(16)
    page.post(f"{TOKENS}new/", {"name": "for a token"})
    page.post(CONFIRM, {"password": PASSWORD})
    assert "for a token" not in page.get(f"{KEYS}new/").content.decode()


@pytest.mark.parametrize("sent", [{"password": "x"}, {"name": "x" * 200_000}])
def test_session_keeps_form_fields_only(page, place, age, sent):
    age(16)
    page.post(f"{place.url}new/", sent)
    assert "x" not in str(page.session.get("apikeys_draft", {}).get("data"))


def test_key_pasted_into_another_field_is_not_kept_in_the_session(page, place, age, ada):
    pasted = mint_pat(ada).token
    age(16)
    page.post(f"{place.url}new/", place.form | {"name": f"my {pasted}"})
    assert pasted not in str(dict(page.session))


def test_rotating_requires_a_recent_log_in(page, age, ada):
    key = mint_pat(ada).key
    url = f"{TOKENS}{key.public_id}/rotate/"
    age(16)
    assert is_asked(page.get(url), url)
    assert is_asked(page.post(url, {"overlap": "3600", "expiry": "keep"}), url)
    key.refresh_from_db()
    assert key.rotated_at is None


def edit_form(key, **changes):
    form = {"name": key.name, "expiry": "keep", "reach": "all", "scopes:payments": "payments:read"}
    return form | changes


def test_narrowing_and_renaming_require_no_recent_log_in(page, age, ada):
    key = mint_pat(ada, scopes=["payments:write"]).key
    age(16)
    response = page.post(f"{TOKENS}{key.public_id}/edit/", edit_form(key, name="desk"))
    key.refresh_from_db()
    assert response["Location"] == f"{TOKENS}{key.public_id}/"
    assert (key.name, key.scope) == ("desk", "payments:read")


@pytest.mark.parametrize(
    "changes",
    [
        {"scopes:payments": "payments:write"},
        {"scopes:reports": "reports:read"},
        {"reach": "all", "projects": []},
        {"projects": ["analytical-engine", "difference-engine"]},
        {"expiry": "60"},
        {"expiry": "none"},
    ],
)
def test_widening_requires_a_recent_log_in(page, age, ada, engine, changes):
    from django.utils import timezone

    MembershipFactory(user=ada, project__slug="difference-engine", role="owner")
    ends = timezone.now() + timedelta(days=3)
    key = mint_pat(ada, projects=[engine], expires_at=ends).key
    selected = {"reach": "selected", "projects": ["analytical-engine"]}
    age(16)
    url = f"{TOKENS}{key.public_id}/edit/"

    assert is_asked(page.post(url, edit_form(key) | selected | changes), url)

    key.refresh_from_db()
    assert (key.scope, key.all_projects, key.expires_at) == ("payments:read", False, ends)
    assert [p.slug for p in key.projects.all()] == ["analytical-engine"]
    age(0)
    assert page.post(url, edit_form(key) | selected | changes)["Location"].endswith(
        f"{key.public_id}/"
    )


def test_revoking_requires_no_recent_log_in(page, age, ada):
    key = mint_pat(ada).key
    age(1000)
    page.post(f"{TOKENS}{key.public_id}/revoke/", {})
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_approving_requires_a_recent_log_in_and_rejecting_does_not(page, age, engine):
    key = mint_key(engine).key
    type(key).objects.update(is_pending=True)
    age(16)
    url = f"{TOKENS}approvals/key/{key.public_id}/"

    assert is_asked(page.post(url, {"decision": "approve"}), f"{TOKENS}approvals/")
    key.refresh_from_db()
    assert key.is_pending
    page.post(url, {"decision": "reject"})
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_confirming_changes_the_session_id(page, age):
    age(16)
    before = page.session.session_key
    page.post(CONFIRM, {"password": PASSWORD})
    assert page.session.session_key != before
    assert page.get(f"{TOKENS}new/").status_code == 200


def test_a_wrong_password_is_refused(page, age):
    age(16)
    response = page.post(CONFIRM, {"password": "wrong", "next": f"{TOKENS}new/"})
    assert response.status_code == 422
    assert "Incorrect password." in text_of(response)
    assert f'value="{TOKENS}new/"' in response.content.decode()
    assert "wrong" not in response.content.decode()
    assert page.get(f"{TOKENS}new/").status_code == 302


def test_password_of_another_user_is_refused(page, age, viewer):
    viewer.set_password("veras-own-password")
    viewer.save()
    age(16)
    assert page.post(CONFIRM, {"password": "veras-own-password"}).status_code == 422


def test_passwords_are_refused_after_five_wrong_ones(page, age):
    age(16)
    for _ in range(sudo.TRIES):
        assert page.post(CONFIRM, {"password": "wrong"}).status_code == 422

    refused = page.post(CONFIRM, {"password": PASSWORD})

    assert refused.status_code == 429
    assert refused["Retry-After"] == "900"
    assert page.get(f"{TOKENS}new/").status_code == 302
    AttemptCount.objects.all().delete()  # the time passes
    assert page.post(CONFIRM, {"password": PASSWORD}).status_code == 302


def test_correct_password_resets_the_count(page, age):
    for _ in range(2):
        age(16)
        for _ in range(sudo.TRIES - 1):
            page.post(CONFIRM, {"password": "wrong"})
        assert page.post(CONFIRM, {"password": PASSWORD}).status_code == 302


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", "", "\\\\evil"]
)
def test_confirmation_never_redirects_to_another_site(page, elsewhere):
    response = page.post(CONFIRM, {"password": PASSWORD, "next": elsewhere})
    assert response["Location"] == TOKENS


def test_user_without_a_password_is_sent_to_the_log_in_page(client, viewer):
    viewer.set_unusable_password()
    viewer.save()
    client.force_login(viewer)
    response = client.get(CONFIRM, {"next": f"{TOKENS}new/"})
    assert "Log in again as you usually do" in text_of(response)
    assert f'href="/login/?next={TOKENS}new/"' in response.content.decode()
    assert client.post(CONFIRM, {"password": ""}).status_code == 422


class Never(sudo.Sudo):
    def is_recent(self, request):
        return False

    def url(self, request, next_url):
        return f"/two-factor/?next={next_url}"


def test_custom_sudo_class_is_used(page, place, settings):
    settings.APIKEYS = settings.APIKEYS | {"SUDO": f"{__name__}.Never"}
    response = page.get(f"{place.url}new/")
    assert response["Location"] == f"/two-factor/?next={place.url}new/"


@pytest.mark.parametrize(
    "wrong", ["nowhere.Sudo", "apikeys.policy.Policy", "apikeys.web.sudo.TRIES"]
)
def test_invalid_sudo_class_is_a_check_error(settings, wrong):
    settings.APIKEYS = settings.APIKEYS | {"SUDO": wrong}
    assert [m.id for m in check_settings()] == ["apikeys.E015"]


@pytest.mark.parametrize("wrong", [timedelta(0), 900, None])
def test_invalid_sudo_max_age_is_a_check_error(settings, wrong):
    settings.APIKEYS = settings.APIKEYS | {"SUDO_MAX_AGE": wrong}
    assert [m.id for m in check_settings()] == ["apikeys.E014"]


@pytest.fixture
def allauth(settings):
    settings.APIKEYS = settings.APIKEYS | {"SUDO": "apikeys.web.sudo.AllauthSudo"}


@pytest.mark.usefixtures("allauth")
def test_allauth_without_reauthentication_asks_for_the_password(page, place, age):
    url = f"{place.url}new/"
    assert page.get(url).status_code == 200
    age(16)
    assert is_asked(page.get(url), url)
    assert page.post(CONFIRM, {"password": "wrong", "next": url}).status_code == 422
    assert page.get(url).status_code == 302
    assert page.post(CONFIRM, {"password": PASSWORD, "next": url})["Location"] == url
    assert page.get(url).status_code == 200


@pytest.mark.usefixtures("allauth")
def test_check_names_the_missing_reauthentication_of_allauth(settings):
    assert [m.id for m in check_pages()] == ["apikeys.W091"]
    settings.ROOT_URLCONF = "tests.web.allauth_reauthentication"
    assert check_pages() == []
