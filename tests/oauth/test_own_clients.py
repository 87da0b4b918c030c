"""A user's own client acts for its owner without a browser, if the policy allows it."""

import pytest
from django.http import QueryDict
from django.test import Client
from oauth2_provider.models import AccessToken, Application

from apikeys.models import AuditEvent, Membership
from apikeys.oauth import authorizations, consent, narrowing, own_clients
from apikeys.oauth.models import Consent, TokenOrigin
from apikeys.oauth.pages.forms import ClientForm
from apikeys.policy import Policy
from tests.factories import MembershipFactory, bearer

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner password:DeprecationWarning"),
]

SCOPE = "oauth2_provider:registration"
METADATA = {
    "client_name": "Ada's laptop",
    "grant_types": ["client_credentials"],
    "token_endpoint_auth_method": "client_secret_basic",
}


class Alone(Policy):
    def client_grant_types(self, user):
        return (*super().client_grant_types(user), "client_credentials")


class NeedsApproval(Alone):
    def needs_approval(self, owner, scope):
        return scope == "payments:write"


@pytest.fixture(autouse=True)
def allowed(settings):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": Alone}


@pytest.fixture
def login(log_in):
    """Return a function that registers a client with a token of this scope."""

    def login(scope="payments:read", **changes):
        token = log_in(scope=f"{scope} {SCOPE}").json()["access_token"]
        return register(METADATA | changes, token)

    return login


def register(metadata, token):
    url = "/o/register/"
    return Client().post(url, metadata, content_type="application/json", headers=bearer(token))


def ask(made, **form):
    form = {"grant_type": "client_credentials", **form}
    form |= {name: made[name] for name in ("client_id", "client_secret")}
    return Client().post("/o/token/", form)


def facts(token):
    return Client().get("/api/token/", headers=bearer(token))


@pytest.fixture
def made(login):
    response = login()
    assert response.status_code == 201, response.content
    return response.json()


def test_client_acts_for_its_owner(made, ada):
    assert made["scope"] == "payments:read"
    token = ask(made).json()
    assert token["scope"] == "payments:read"
    assert "refresh_token" not in token
    said = facts(token["access_token"]).json()
    assert (said["user"], said["client"]) == ("ada", made["client_id"])
    assert said["projects"] == ["analytical-engine"]


def test_policy_refuses_it_by_default(login, made, settings):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": Policy}
    assert ask(made).json()["error"] == "unauthorized_client"
    assert login().json()["error"] == "invalid_client_metadata"


@pytest.mark.parametrize("scope", ["payments:write", "reports:read", SCOPE, "payments:read x"])
def test_client_gets_no_scope_beyond_the_token_that_registered_it(log_in, made, scope):
    token = log_in(scope=f"payments:read {SCOPE}").json()["access_token"]
    answer = register(METADATA | {"scope": scope}, token).json()
    assert answer["error"] == "invalid_client_metadata"
    assert ask(made, scope=scope).json()["error"] == "invalid_scope"


def test_client_may_have_less_than_the_token(log_in):
    token = log_in(scope=f"payments:write reports:read {SCOPE}").json()["access_token"]
    made = register(METADATA | {"scope": "payments:read"}, token).json()
    assert ask(made).json()["scope"] == "payments:read"
    assert ask(made, scope="payments:write").json()["error"] == "invalid_scope"


def test_selected_projects_of_the_token_limit_the_client(log_in, ada, engine):
    MembershipFactory(user=ada, project__slug="two")
    token = log_in(scope=f"payments:read {SCOPE}").json()["access_token"]
    row = AccessToken.objects.get()
    given = consent.save(ada, row.application, row.scope, [engine], is_given=True)
    TokenOrigin.objects.create(access_token=row, consent=given)
    made = register(METADATA, token).json()
    assert facts(ask(made).json()["access_token"]).json()["projects"] == ["analytical-engine"]


def test_rights_of_the_owner_count_today(login, ada, client):
    made = login("payments:write").json()
    token = ask(made).json()["access_token"]
    body = {"amount": "1.00"}
    assert client.post("/api/payments/", body, headers=bearer(token)).status_code == 201
    Membership.objects.update(role="viewer")
    assert client.post("/api/payments/", body, headers=bearer(token)).status_code == 403
    assert ask(made, scope="payments:write").json()["error"] == "invalid_scope"
    Membership.objects.all().delete()
    assert facts(token).json()["projects"] == []


def test_scope_that_needs_an_approval_is_refused(login, settings):
    made = login("payments:write").json()
    settings.APIKEYS = settings.APIKEYS | {"POLICY": NeedsApproval}
    assert ask(made, scope="payments:write").json()["error"] == "invalid_scope"


def test_client_ends_with_its_user(made, ada):
    token = ask(made).json()["access_token"]
    ada.is_active = False
    ada.save()
    assert facts(token).status_code == 401
    assert ask(made).json()["error"] == "invalid_client"


def test_tokens_end_with_the_client(made):
    token = ask(made).json()["access_token"]
    authorizations.delete(Application.objects.get(client_id=made["client_id"]))
    assert facts(token).status_code == 401


def test_owner_lists_and_revokes_it(made, ada):
    token = ask(made).json()["access_token"]
    application = Application.objects.get(client_id=made["client_id"])
    (found,) = [a for a in authorizations.live(user=ada) if a.application == application]
    assert found.scopes == ("payments:read",)
    authorizations.end(application, ada)
    assert facts(token).status_code == 401
    assert ask(made).status_code in (400, 401)
    # Nor can the program bring its access back.
    headers = bearer(made["registration_access_token"])
    url = f"/o/register/{made['client_id']}/"
    Client().put(url, METADATA, content_type="application/json", headers=headers)
    assert ask(made).status_code in (400, 401)
    assert not Consent.objects.filter(application=application).exists()


def test_consent_of_another_user_does_not_count(made, ada):
    application = Application.objects.get(client_id=made["client_id"])
    Consent.objects.filter(application=application).update(
        user=MembershipFactory(project__slug="three").user
    )
    assert own_clients.consent_of(application) is None
    assert ask(made).status_code in (400, 401)


def test_wrong_secret_is_refused(made):
    wrong = made["client_secret"][:-1] + ("a" if made["client_secret"][-1] != "a" else "b")
    assert ask(made | {"client_secret": wrong}).status_code == 401


def test_public_client_cannot_act_alone(login):
    response = login(token_endpoint_auth_method="none")
    assert response.json()["error"] == "invalid_client_metadata"


def test_anonymous_client_cannot_act_alone():
    response = Client().post("/o/register/", METADATA, content_type="application/json")
    assert response.json()["error"] == "invalid_client_metadata"


def test_grant_cannot_be_added_by_the_program(login):
    metadata = {"grant_types": ["authorization_code"], "redirect_uris": ["https://a.example/"]}
    made = login(**metadata).json()
    url, headers = f"/o/register/{made['client_id']}/", bearer(made["registration_access_token"])
    response = Client().put(url, METADATA, content_type="application/json", headers=headers)
    assert response.json()["error"] == "invalid_client_metadata"
    assert ask(made).json()["error"] == "unauthorized_client"


def test_token_for_one_resource_cannot_register_it(log_in):
    token = log_in(scope=f"payments:read {SCOPE}").json()["access_token"]
    AccessToken.objects.update(resource=["http://testserver/o/"])
    assert register(METADATA, token).json()["error"] == "invalid_client_metadata"


class Form:
    @pytest.fixture
    def session(self, client, ada):
        client.force_login(ada)
        return client

    def form(self, user, application=None, **changes):
        data = {"name": "Night shift", "client_type": "confidential", "redirect_uris": ""}
        data |= {"grant_types": ["client_credentials"], **changes}
        form = QueryDict(mutable=True)
        for name, value in data.items():
            form.setlist(name, value if isinstance(value, list) else [value])
        return ClientForm(form, user=user, application=application)

    def save(self, user, application=None, **changes):
        form = self.form(user, application, **changes)
        assert form.is_valid(), form.errors
        secret = form.save()
        return {"client_id": form.checked.client_id, "client_secret": secret}, form.checked


class TestForm(Form):
    """The owner creates or edits the client on the settings pages."""

    def test_new_client_acts_for_its_owner(self, ada):
        made, application = self.save(ada)
        token = ask(made).json()
        assert "keys:write" not in token["scope"]
        assert facts(token["access_token"]).json()["user"] == "ada"

        # Saving it again does not give it back what the owner took away.
        authorizations.end(application, ada)
        self.save(ada, application, name="Renamed")
        assert ask(made).status_code in (400, 401)

    def test_adding_the_grant_is_consent(self, ada):
        grants = {"grant_types": ["authorization_code"], "redirect_uris": "https://a.example/"}
        made, application = self.save(ada, **grants)
        assert ask(made).json()["error"] == "unauthorized_client"
        self.save(ada, application)
        assert ask(made).status_code == 200

    def test_maximum_scopes_of_the_client_count(self, ada):
        made, application = self.save(ada)
        application.apikeys_settings.max_scope = "payments:read"
        application.apikeys_settings.save()
        assert ask(made).json()["scope"] == "payments:read"
        assert ask(made, scope="payments:write").json()["error"] == "invalid_scope"

    def test_maximum_scopes_are_the_scopes_of_the_client(self, ada):
        made, _application = self.save(ada, limit="selected", scopes=["payments:write"])
        assert ask(made).json()["scope"] == "payments:write"
        assert ask(made, scope="reports:read").json()["error"] == "invalid_scope"

    def test_adding_to_the_maximum_scopes_gives_them_to_the_client(self, ada):
        limit = {"limit": "selected", "scopes": ["payments:read"]}
        made, application = self.save(ada, **limit)
        application = Application.objects.get(pk=application.pk)
        more = {"limit": "selected", "scopes": ["payments:read", "reports:read"]}
        self.save(ada, application, **more)
        assert ask(made).json()["scope"] == "payments:read reports:read"

        # Saving them again does not bring back what the owner took away on another page.
        narrowing.narrow(ada, application, names=["payments:read"], projects=None)
        self.save(ada, Application.objects.get(pk=application.pk), **more)
        assert ask(made).json()["scope"] == "payments:read"


class TestProjects(Form):
    """The owner selects the projects in which the client acts."""

    ONE = "analytical-engine"

    @pytest.fixture
    def two(self, ada):
        return MembershipFactory(user=ada, project__slug="two").project

    def selecting(self, *projects):
        return {"reach": "selected", "projects": [str(each.pk) for each in projects]}

    def reached(self, token):
        return sorted(facts(token).json()["projects"])

    def test_client_reaches_only_the_selected_projects(self, ada, engine, two):
        made, _application = self.save(ada, **self.selecting(engine))
        token = ask(made).json()["access_token"]
        assert self.reached(token) == [self.ONE]
        response = Client().get("/api/projects/two/keys/", headers=bearer(token))
        assert response.status_code in (403, 404)

    def test_client_without_a_selection_reaches_all(self, ada, engine, two):
        for changes in ({}, {"reach": "all"}):
            made, _application = self.save(ada, **changes)
            assert self.reached(ask(made).json()["access_token"]) == [self.ONE, "two"]

    def test_selecting_fewer_takes_effect_at_the_next_request(self, ada, engine, two):
        made, application = self.save(ada, reach="all")
        token = ask(made).json()["access_token"]
        self.save(ada, application, **self.selecting(two))
        assert self.reached(token) == ["two"]
        assert self.reached(ask(made).json()["access_token"]) == ["two"]
        event = AuditEvent.objects.get(event="narrowed")
        assert event.changes["projects"] == {"before": None, "after": ["two"]}

    def test_owner_can_select_more_again(self, ada, engine, two):
        made, application = self.save(ada, **self.selecting(engine))
        token = ask(made).json()["access_token"]
        self.save(ada, application, **self.selecting(two))
        assert self.reached(token) == ["two"]
        self.save(ada, application, reach="all")
        assert self.reached(token) == [self.ONE, "two"]
        given = AuditEvent.objects.filter(event="consented").order_by("pk")
        assert [each.changes["projects"] for each in given] == [["two"], None]

    def test_a_form_without_the_field_changes_nothing(self, ada, engine, two):
        made, application = self.save(ada, **self.selecting(engine))
        token = ask(made).json()["access_token"]
        self.save(ada, application, name="Renamed")
        assert self.reached(token) == [self.ONE]

    def test_selection_narrows_an_earlier_consent(self, ada, engine, two):
        made, application = self.save(ada)
        older = ask(made).json()["access_token"]
        own_clients.allow(application, ["payments:read"], [engine, two])
        self.save(ada, application, **self.selecting(engine))
        assert self.reached(older) == [self.ONE]

    def test_revoked_client_gets_nothing_back(self, ada, engine, two):
        made, application = self.save(ada)
        authorizations.end(application, ada)
        assert "reach" not in ClientForm(user=ada, application=application).fields
        self.save(ada, application, **self.selecting(engine))
        assert ask(made).status_code in (400, 401)
        assert not Consent.objects.filter(application=application).exists()

    def test_project_that_the_owner_leaves_is_gone(self, ada, engine, two):
        made, _application = self.save(ada, **self.selecting(two))
        token = ask(made).json()["access_token"]
        Membership.objects.filter(user=ada, project=two).delete()
        assert self.reached(token) == []

    def test_deleted_project_does_not_lift_the_selection(self, ada, engine, two):
        made, _application = self.save(ada, **self.selecting(two))
        token = ask(made).json()["access_token"]
        two.delete()
        assert self.reached(token) == []

    def test_invalid_selections_are_refused(self, ada, engine, two):
        other = MembershipFactory(project__slug="three").project
        for changes, field in (
            ({"reach": "selected"}, "projects"),
            (self.selecting(other), "projects"),
            ({"reach": "all", "projects": [str(two.pk)]}, "projects"),
            ({"reach": "selected", "projects": ["9" * 30]}, "projects"),
            ({"reach": "none"}, "reach"),
        ):
            form = self.form(ada, **changes)
            assert not form.is_valid()
            assert field in form.errors, changes
        assert not Application.objects.exists()

    def test_selection_counts_only_with_the_grant(self, ada, settings):
        grants = {"grant_types": ["authorization_code"], "redirect_uris": "https://a.example/"}
        form = self.form(ada, reach="selected", **grants)
        assert form.is_valid(), form.errors
        settings.APIKEYS = settings.APIKEYS | {"POLICY": Policy}
        assert "reach" not in self.form(ada).fields

    def test_page_shows_the_selection(self, session, ada, engine, two):
        _made, application = self.save(ada, **self.selecting(two))
        page = session.get(f"/settings/applications/own/{application.pk}/").content.decode()
        assert f'value="{two.pk}" id="id_projects_1" checked' in page
        assert f'value="{engine.pk}" id="id_projects_0" checked' not in page
        assert 'value="selected" id="id_reach_1" checked' in page
