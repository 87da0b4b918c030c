"""The audit log records what happens to access: consents, clients, tokens of each grant."""

import re
from html import unescape

import pytest
from django.utils import translation
from oauth2_provider.models import Application

from apikeys import token
from apikeys.models import AuditEvent
from apikeys.oauth import authorizations, narrowing, registration, signals
from tests.factories import UserFactory, mint_key, mint_pat
from tests.oauth.conftest import SECRET

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def recorded(**filters):
    return [event.event for event in AuditEvent.objects.filter(**filters).order_by("pk")]


def text_of(response):
    body = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(unescape(body).split()).replace(" .", ".").replace(" ,", ",")


@pytest.fixture
def received():
    """Return the signals that are sent, with their arguments."""
    found = []

    def receiver(signal, sender, **kwargs):
        found.append((next(n for n in signals.__all__ if getattr(signals, n) is signal), kwargs))

    for name in signals.__all__:
        getattr(signals, name).connect(receiver)
    yield found
    for name in signals.__all__:
        getattr(signals, name).disconnect(receiver)


def test_a_consent_and_its_end_are_recorded(visitor, answer, app, ada, two, received):
    answer(reach="selected", projects=[two.pk])
    narrowing.narrow(ada, app, names=["payments:read"], projects=None, by=ada)
    authorizations.end(app, ada, by=ada)

    assert recorded(owner="ada") == ["consented", "token_issued", "narrowed", "withdrawn"]
    names = [name for name, _ in received]
    assert names == ["consent_given", "token_issued", "consent_narrowed", "consent_withdrawn"]
    consented = AuditEvent.objects.get(event="consented")
    assert consented.by == "ada"
    assert consented.ip == "127.0.0.1"
    assert consented.name == "Payments app"
    assert consented.changes == {
        "client_id": "app",
        "scopes": ["payments:write", "reports:read"],
        "projects": ["two"],
    }


def test_a_denied_request_is_not_a_consent(visitor, answer, query):
    visitor.post("/o/authorize/", query)
    assert recorded(owner="ada") == []


def test_tokens_are_recorded_for_each_grant_and_not_for_a_refresh(client, log_in):
    grant = log_in().json()
    form = {"grant_type": "refresh_token", "client_id": "webapp"}
    for _ in range(2):
        grant = client.post("/o/token/", form | {"refresh_token": grant["refresh_token"]}).json()

    assert recorded(owner="ada") == ["token_issued"]
    assert AuditEvent.objects.get(owner="ada").changes["grant_type"] == "password"


def test_a_program_that_acts_for_itself_is_recorded_once_a_day(client, service):
    form = {"grant_type": "client_credentials", "client_id": "service", "client_secret": SECRET}
    for _ in range(3):
        assert client.post("/o/token/", form).status_code == 200

    assert recorded(event="token_issued") == ["token_issued"]


def test_an_exchange_of_a_key_is_recorded_once_a_day(client, ada, engine, received):
    minted = mint_key(engine)
    form = {"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN}
    for _ in range(3):
        response = client.post("/o/token/", form | {"subject_token": minted.token})
        assert response.status_code == 200

    event = AuditEvent.objects.get(event="exchanged")
    assert (event.public_id, event.kind) == (minted.key.public_id, "projectkey")
    assert [name for name, _ in received] == ["token_exchanged"]
    assert minted.token not in str(AuditEvent.objects.values_list())


def test_an_exchange_of_a_token_belongs_to_its_user(client, log_in):
    grant = log_in().json()
    form = {"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN, "client_id": "webapp"}
    for _ in range(2):
        client.post("/o/token/", form | {"subject_token": grant["access_token"]})

    assert recorded(owner="ada") == ["token_issued", "exchanged"]


def test_a_client_is_recorded_from_registration_to_deletion(client, ada):
    application = Application.objects.create(
        name="Ledger", user=ada, client_type="confidential", redirect_uris="https://l.example/",
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE, client_secret=SECRET,
    )  # fmt: skip
    registration.rotate_secret(application, registration.timedelta(hours=1), by=ada)
    authorizations.delete(application, by=ada)

    assert recorded(owner="ada") == ["client_registered", "client_rotated", "client_deleted"]
    assert SECRET not in str(AuditEvent.objects.values_list())


def test_revoking_all_users_is_recorded_for_each(log_in, webapp, ada):
    log_in()
    other = UserFactory(username="other")
    log_in()
    authorizations.end(webapp, by=other)

    assert recorded(event="withdrawn") == ["withdrawn"]
    assert AuditEvent.objects.get(event="withdrawn").owner == "ada"
    authorizations.end(webapp, by=other)
    assert recorded(event="withdrawn") == ["withdrawn"]


@pytest.mark.slow
def test_the_activity_page_shows_sentences(visitor, answer, app, ada, two):
    answer(reach="selected", projects=[two.pk])
    narrowing.narrow(ada, app, names=["payments:read"], projects=None, by=ada)
    authorizations.end(app, ada, by=ada)
    app.user = ada
    page = visitor.get("/settings/keys/activity/")
    text = text_of(page)

    for sentence in (
        "Payments app was authorized. Permissions: Make payments, and see them, See reports."
        " Projects: Two.",
        "Payments app logged in.",
        "Payments app was limited. Access changed: removed Make payments, and see them, See"
        " reports, added See payments.",
        "Payments app was revoked. It can no longer act on your behalf.",
    ):
        assert sentence in text, text
    assert f"?key={token.derived_id('app')}" in page.content.decode()
    only = text_of(visitor.get("/settings/keys/activity/", {"key": token.derived_id("app")}))
    assert "was limited" in only
    with translation.override("de"):
        german = text_of(visitor.get("/settings/keys/activity/", headers={"accept-language": "de"}))
    assert "was authorized" not in german
    assert "was limited" not in german


def test_other_users_and_projects_do_not_see_the_events(client, answer):
    answer()
    client.force_login(UserFactory())
    assert "Payments app" not in text_of(client.get("/settings/keys/activity/"))


def test_tokens_of_other_kinds_keep_their_activity(visitor, ada, answer):
    mint_pat(ada)
    answer()
    exported = visitor.get("/settings/keys/activity/", {"format": "jsonl"})
    lines = b"".join(exported.streaming_content).decode()
    assert '"kind": "client"' in lines
    assert '"event": "minted"' in lines


def test_a_long_client_id_has_a_short_id():
    found = {token.derived_id(text) for text in ("a", "b", "https://x.example/" + "a" * 200)}
    assert len(found) == 3
    assert all(re.fullmatch("[0-9a-z]{16}", each) for each in found)
