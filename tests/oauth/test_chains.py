"""Ending a token ends all its descendants, whichever way it ends."""

from contextlib import suppress
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, RefreshToken

from apikeys import grants, lifecycle
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.oauth import authorizations, chains
from apikeys.oauth.models import Consent, TokenOrigin
from apikeys.signals import key_revoked
from apikeys.verify import verify
from tests.factories import MembershipFactory, UserFactory, bearer, mint_pat
from tests.lifecycle.test_races import meanwhile
from tests.tiers import long

pytestmark = pytest.mark.slow

SCOPE = "payments:read keys:read keys:write"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def application(name, **kwargs):
    return Application.objects.create(
        **{
            "client_id": name,
            "name": name,
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "client_secret": f"secret-of-{name}",
            "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
            "redirect_uris": "https://app.example/callback",
        }
        | kwargs
    )


@pytest.fixture
def project(ada):
    return ada.project_memberships.get().project


@pytest.fixture
def web(db):
    return application("web")


@pytest.fixture
def services(db):
    return [application("one"), application("two")]


@pytest.fixture
def site(client, ada, project, web, services):
    return Site(client, ada, project, web, services)


class Site:
    """Actions of the users and services in these tests."""

    def __init__(self, client, ada, project, web, services):
        self.client, self.ada, self.project, self.web = client, ada, project, web
        self.one, self.two = services
        self.minted = 0
        client.force_login(ada)

    def authorized(self):
        """Create a token pair of the application `web`, as after a consent and a code."""
        consent = Consent.objects.create(
            user=self.ada, application=self.web, scope=SCOPE, is_given=True
        )
        return self.token_of(consent)

    def token_of(self, consent):
        number = AccessToken.objects.count()
        row = AccessToken.objects.create(
            user=self.ada,
            application=self.web,
            scope=SCOPE,
            expires=timezone.now() + timedelta(minutes=5),
            token=f"access-{number}-{timezone.now().timestamp()}",
        )
        TokenOrigin.objects.create(access_token=row, consent=consent)
        RefreshToken.objects.create(
            user=self.ada, application=self.web, access_token=row, token=f"refresh-{row.pk}"
        )
        return row.token, f"refresh-{row.pk}"

    def post(self, url, app=None, **form):
        if app is not None:
            form |= {"client_id": app.client_id, "client_secret": f"secret-of-{app.client_id}"}
        return self.client.post(url, form)

    def exchange(self, subject, app=None):
        response = self.post(
            "/o/token/",
            app or self.one,
            grant_type=EXCHANGE,
            subject_token=subject,
            subject_token_type=ACCESS_TOKEN,
        )
        assert response.status_code == 200, response.content
        return response.json()["access_token"]

    def mint(self, token, of_project=False):
        url = f"/api/projects/{self.project.slug}/keys/" if of_project else "/api/tokens/"
        self.minted += 1  # no key outlives its creator, even if a step is slow
        ends = timezone.now() + timedelta(seconds=290 - 20 * self.minted)
        form = {"name": "made", "scopes": SCOPE.split(), "expires_at": ends.isoformat()}
        response = self.client.post(
            url, form, content_type="application/json", headers=bearer(token)
        )
        assert response.status_code == 201, response.content
        return response.json()["token"]

    def is_alive(self, token):
        return self.client.get("/api/token/", headers=bearer(token)).status_code == 200

    def alive(self, tokens):
        return [name for name, token in tokens.items() if self.is_alive(token)]

    def chain(self, top):
        """token -> token -> token -> key -> token -> token -> key -> key, and a project's key."""
        found = {"top": top}
        found["second"] = self.exchange(top)
        found["third"] = self.exchange(found["second"], self.two)
        found["key"] = self.mint(found["third"])
        found["of the key"] = self.exchange(found["key"], self.two)
        found["again"] = self.exchange(found["of the key"])
        found["last key"] = self.mint(found["again"])
        found["key of the last key"] = self.mint(found["last key"])
        found["project key"] = self.mint(found["second"], of_project=True)
        assert self.alive(found) == list(found)
        return found


def revoke(site, token, app):
    assert site.post("/o/revoke_token/", app, token=token).status_code == 200


def refresh(site, token):
    form = {"grant_type": "refresh_token", "refresh_token": token}
    return site.post("/o/token/", site.web, **form)


def row(token):
    return AccessToken.objects.filter(token=token)


def as_admin(site):
    site.client.force_login(UserFactory(is_staff=True, is_superuser=True))


def by_admin_action(site, access, refresh):
    as_admin(site)
    url = reverse("admin:oauth2_provider_accesstoken_changelist")
    form = {"action": "revoke_tokens", "_selected_action": [row(access).get().pk]}
    assert site.client.post(url, form).status_code == 302


def by_replay(site, access, token):
    assert refresh(site, token).status_code == 200
    assert refresh(site, token).status_code == 400


def at_the_pages(site, access, refresh):
    url = reverse("apikeys_oauth:leave", args=[site.web.pk])
    assert site.client.post(url, {"confirm": "yes"}).status_code == 302


ENDS = {
    "access token revoked": lambda site, access, _: revoke(site, access, site.web),
    "refresh token revoked": lambda site, _, token: revoke(site, token, site.web),
    "refreshed": lambda site, _, token: refresh(site, token),
    "replayed": by_replay,
    "at the pages": at_the_pages,
    "revoked in the admin": by_admin_action,
    "row deleted": lambda site, access, _: row(access).get().delete(),
    "rows deleted": lambda site, access, _: row(access).delete(),
    "client deleted": lambda site, *_: site.web.delete(),
    "clients deleted": lambda site, *_: Application.objects.filter(client_id="web").delete(),
    "consent deleted": lambda site, *_: Consent.objects.all().delete(),
    "users deleted": lambda site, *_: get_user_model().objects.filter(username="ada").delete(),
}


@pytest.mark.parametrize("how", ENDS)
def test_ending_a_token_ends_its_descendants(site, how):
    access, token = site.authorized()
    chain = site.chain(access)

    ENDS[how](site, access, token)

    assert site.alive(chain) == []


def test_a_refresh_without_rotation_ends_the_descendants_of_the_old_token(site, settings):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"ROTATE_REFRESH_TOKEN": False}
    access, token = site.authorized()
    chain = site.chain(access)

    new = refresh(site, token).json()["access_token"]

    assert site.alive(chain) == []
    assert site.is_alive(new)


@pytest.mark.parametrize("name", ["second", "third", "of the key", "again"])
def test_ending_a_token_keeps_its_ancestors(site, name):
    access, _ = site.authorized()
    chain = site.chain(access)
    above = list(chain)[: list(chain).index(name)]
    beside = ["project key"] if name != "second" else []

    holder = {"third": site.two, "of the key": site.two}.get(name, site.one)
    revoke(site, chain[name], holder)

    assert site.alive(chain) == above + beside


def test_revoking_a_key_ends_its_descendants(site):
    access, _ = site.authorized()
    chain = site.chain(access)

    lifecycle.revoke(PersonalAccessToken.objects.get(public_id=chain["key"].split("_")[2]))

    assert site.alive(chain) == ["top", "second", "third", "project key"]


@pytest.mark.parametrize("how", ["delete()", "queryset.delete()", "with its user"])
def test_deleting_a_key_ends_its_descendants(site, how):
    minted = mint_pat(site.ada, scopes=SCOPE.split())
    chain = site.chain(minted.token)
    if how == "delete()":
        minted.key.delete()
    elif how == "queryset.delete()":
        PersonalAccessToken.objects.filter(pk=minted.key.pk).delete()
    else:
        get_user_model().objects.filter(pk=site.ada.pk).delete()

    assert site.alive(chain) == []


def test_revoking_a_key_ends_the_tokens_of_both_clients(site):
    minted = mint_pat(site.ada, scopes=SCOPE.split())
    chain = {"one": site.exchange(minted.token, site.one)}
    chain |= {"two": site.exchange(minted.token, site.two)}
    chain |= {"key": site.mint(chain["one"]), "other": site.mint(chain["two"], of_project=True)}

    revoke(site, chain["one"], site.one)
    assert site.alive(chain) == ["two", "other"]
    lifecycle.revoke(minted.key)
    assert site.alive(chain) == []


def test_an_extended_key_ends_with_the_key_of_its_pruned_token(site):
    """The owner extends the key, and the expired token is pruned."""
    minted = mint_pat(site.ada, scopes=SCOPE.split())
    token = site.exchange(minted.token)
    made = site.mint(token)
    key = PersonalAccessToken.objects.get(public_id=made.split("_")[2])
    lifecycle.edit(key, expires_at=timezone.now() + timedelta(days=5))
    row_of_token = TokenOrigin.objects.get().access_token
    AccessToken.objects.filter(pk=row_of_token.pk).update(expires=timezone.now())
    call_command("cleartokens")

    assert not AccessToken.objects.filter(pk=row_of_token.pk).exists()
    assert site.is_alive(made)
    lifecycle.revoke(minted.key)
    assert not site.is_alive(made)


@pytest.mark.django_db(transaction=True)
def test_a_key_created_while_its_chain_ends_is_ended(site):
    """The transaction that ends the middle of the chain is not committed yet."""
    access, _ = site.authorized()
    second = site.exchange(access)
    made = []

    def exchange_and_mint():
        site.client = Client()
        made.append(site.exchange(second, site.two))
        made.append(site.mint(made[0]))

    with suppress(AssertionError):  # the exchange is refused
        meanwhile(lambda: chains.end([row(access).get().pk]), exchange_and_mint)

    assert not any(map(site.is_alive, made))


class TestWithdrawal:
    """The user revokes an authorization after the row of the token is gone."""

    @pytest.fixture(params=[False, True], ids=["token", "project key"])
    def made(self, site, request):
        """Create a key with a token, then refresh the token, which deletes its row."""
        access, refresh_token = site.authorized()
        made = site.mint(access, of_project=request.param)
        lifecycle.edit(self.key_of(made), expires_at=timezone.now() + timedelta(days=5))
        AccessToken.objects.update(expires=timezone.now())
        assert refresh(site, refresh_token).status_code == 200
        assert not row(access).exists()
        assert site.is_alive(made)
        return made

    def key_of(self, text):
        _, kind, public_id, _ = text.split("_")
        model = {"pat": PersonalAccessToken, "key": ProjectKey}[kind]
        return model.objects.get(public_id=public_id)

    @pytest.mark.parametrize("everybody", [False, True], ids=["by the user", "by the owner"])
    def test_ends_the_keys_that_the_application_created(self, site, made, everybody):
        below = site.mint(made, of_project="_key_" in made)

        authorizations.end(site.web, None if everybody else site.ada)

        assert site.alive({"made": made, "below": below}) == []
        assert "revoked" in self.key_of(made).revoked_reason

    @pytest.mark.parametrize("whose", ["another user's", "another client's"])
    def test_keeps_the_keys_of_others(self, site, made, whose):
        other = MembershipFactory(project=site.project, role="owner").user

        if whose == "another user's":
            authorizations.end(site.web, other)
        else:
            authorizations.end(site.one, site.ada)

        assert site.is_alive(made)


class TestDeactivation:
    def test_deactivating_the_user_refuses_all_descendants(self, site):
        access, _ = site.authorized()
        chain = site.chain(access)
        chain["token of the project key"] = site.exchange(chain["project key"])
        chain["key of it"] = site.mint(chain["token of the project key"], of_project=True)

        get_user_model().objects.update(is_active=False)
        assert site.alive(chain) == []
        get_user_model().objects.update(is_active=True)
        assert site.alive(chain) == list(chain)

    @pytest.mark.parametrize("name", ["web", "one", "two"])
    def test_deactivating_the_owner_of_a_client_refuses_all_descendants(self, site, name):
        owner = UserFactory()
        Application.objects.filter(client_id=name).update(user=owner)
        access, _ = site.authorized()
        chain = site.chain(access)

        get_user_model().objects.filter(pk=owner.pk).update(is_active=False)

        spared = {"web": [], "one": ["top"], "two": ["top", "second", "project key"]}
        assert site.alive(chain) == spared[name]

    def test_deactivating_the_owner_of_a_client_refuses_a_key_that_it_rotated(self, site):
        """The client knows the new secret, although the key rotated itself."""
        owner = UserFactory()
        Application.objects.filter(client_id="one").update(user=owner)
        minted = mint_pat(site.ada, scopes=SCOPE.split())
        within = grants.for_tokens(site.ada, verify(site.exchange(minted.token)))
        ends = timezone.now() + timedelta(seconds=60)
        successor = lifecycle.rotate(minted.key, expires_at=ends, within=within)
        assert site.is_alive(successor.token)

        get_user_model().objects.filter(pk=owner.pk).update(is_active=False)

        assert not site.is_alive(successor.token)

    def test_deactivating_a_project_refuses_the_tokens_of_its_keys(self, site):
        key = lifecycle.mint(project=site.project, name="k", scopes=SCOPE.split())
        chain = {"token": site.exchange(key.token)}
        chain["second"] = site.exchange(chain["token"], site.two)
        chain["key"] = site.mint(chain["second"], of_project=True)
        chain["last"] = site.exchange(chain["key"])
        assert site.alive(chain) == list(chain)

        type(site.project).objects.update(is_active=False)

        assert site.alive(chain) == []

    def test_deactivating_the_user_refuses_a_project_key_created_with_their_token(self, site):
        made = site.mint(mint_pat(site.ada, scopes=SCOPE.split()).token, of_project=True)

        get_user_model().objects.update(is_active=False)

        assert not site.is_alive(made)

    def test_deactivating_the_creator_keeps_a_project_key_created_in_a_session(self, site):
        """A project key survives the departure of its creator."""
        made = lifecycle.mint(project=site.project, name="k", scopes=SCOPE.split(), by=site.ada)

        get_user_model().objects.update(is_active=False)

        assert site.is_alive(made.token)


def test_a_retried_deletion_ends_the_descendants(site):
    """The first deletion is rolled back, so the signal for the row must count again."""
    access, _ = site.authorized()
    chain = site.chain(access)
    seen = []

    def refuse(**kwargs):
        seen.append(kwargs)
        if len(seen) == 1:
            raise RuntimeError("undone")

    key_revoked.connect(refuse)
    try:
        with pytest.raises(RuntimeError), transaction.atomic():
            site.web.delete()
        assert site.alive(chain) == list(chain)
        site.web.delete()
    finally:
        key_revoked.disconnect(refuse)

    assert site.alive(chain) == []


def fill(site, number, *, deep):
    """Create ``number`` descendants of one token: as siblings, or as one chain."""
    top, _ = site.authorized()
    first = row(top).get()
    now = timezone.now()
    tokens = [
        AccessToken(
            user=site.ada,
            application=site.one,
            scope=SCOPE,
            expires=now + timedelta(minutes=5),
            created=now,
            token=f"below-{n}",
            token_checksum=f"{n:064}",
        )
        for n in range(number)
    ]
    AccessToken.objects.bulk_create(tokens)
    tokens = list(AccessToken.objects.filter(token__startswith="below-").order_by("pk"))
    above = [first, *tokens] if deep else [first] * number
    TokenOrigin.objects.bulk_create(
        TokenOrigin(access_token=token, parent=parent, first=first)
        for token, parent in zip(tokens, above, strict=False)
    )
    return top, tokens


@pytest.fixture(params=[long(None), {"TIMEOUT": 60}], ids=["", "cached"])
def cached(request, settings):
    """With a cache, signals make Django load the rows that it deletes."""
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": request.param}


@pytest.mark.parametrize("deep", [long(False), True], ids=["wide", "deep"])
@pytest.mark.parametrize("how", ["access token revoked", long("at the pages"), "client deleted"])
def test_two_thousand_tokens_end_in_fifty_queries(site, cached, deep, how):
    top, tokens = fill(site, 2000, deep=deep)
    key = lifecycle.mint(user=site.ada, name="k", scopes=["payments:read"])
    PersonalAccessToken.objects.filter(pk=key.key.pk).update(made_with_token=str(tokens[-1].pk))

    with CaptureQueriesContext(
        connection,
    ) as queries:
        ENDS[how](site, top, "")

    assert len(queries) <= 50
    live = AccessToken.objects.filter(pk__in=[t.pk for t in tokens], expires__gt=timezone.now())
    assert not live.exists()
    assert not site.is_alive(key.token)


@pytest.mark.parametrize("number", [1000, long(3000)])
def test_all_tokens_of_a_client_end_in_a_hundred_queries_per_thousand(site, cached, number):
    fill(site, number, deep=False)

    with CaptureQueriesContext(connection) as queries:
        authorizations.end(site.one)

    assert len(queries) <= number // 10
    assert not AccessToken.objects.filter(application=site.one).exists()


def consented(site, number):
    """Create ``number`` token pairs of the client, each with its consent."""
    return [site.authorized()[0] for _ in range(number)]


@pytest.mark.django_db(transaction=True)
def test_a_client_with_many_tokens_is_deleted_in_short_transactions(site, monkeypatch):
    monkeypatch.setattr(authorizations, "_BATCH", 4)
    tokens = consented(site, 10)
    commits = []
    commit = connection.commit
    monkeypatch.setattr(connection, "commit", lambda: (commits.append(1), commit()))

    authorizations.delete(site.web)

    assert len(commits) >= 3
    assert not Application.objects.filter(pk=site.web.pk).exists()
    for token in tokens:
        assert not row(token).exists()
    assert not Consent.objects.exists()
    assert not RefreshToken.objects.filter(revoked=None).exists()


@pytest.mark.django_db(transaction=True)
def test_an_interrupted_revocation_keeps_what_has_ended_and_can_be_repeated(site, monkeypatch):
    monkeypatch.setattr(authorizations, "_BATCH", 4)
    tokens, ended = consented(site, 10), []
    end = chains.end_below

    def fail_at_the_second(pks):
        ended.append(pks)
        if len(ended) == 2:
            raise RuntimeError("interrupted")
        end(pks)

    monkeypatch.setattr(chains, "end_below", fail_at_the_second)
    with pytest.raises(RuntimeError):
        authorizations.end(site.web)
    assert [site.is_alive(token) for token in tokens] == [False] * 4 + [True] * 6

    authorizations.end(site.web)

    assert not any(map(site.is_alive, tokens))


@pytest.mark.parametrize("deep", [long(False), True], ids=["wide", "deep"])
def test_two_thousand_keys_end_in_a_bounded_number_of_queries(site, deep):
    top = lifecycle.mint(user=site.ada, name="top", scopes=["payments:read"]).key
    keys, maker = [], top.public_id
    for number in range(2000):
        key = PersonalAccessToken(
            user=site.ada, name=f"{number}", minted_with=maker, lineage=top.public_id
        )
        maker = key.public_id if deep else maker
        keys.append(key)
    PersonalAccessToken.objects.bulk_create(keys)

    with CaptureQueriesContext(connection) as queries:
        lifecycle.revoke(top, by=site.ada)

    assert len(queries) <= 60  # half of them write the audit log
    assert not PersonalAccessToken.objects.filter(revoked_at=None).exists()


class TestRowsOfVersionOne:
    """Workers of version 1.0 store the first token of a chain as the parent."""

    def test_tokens_end_with_the_first(self, site):
        access, _ = site.authorized()
        chain = site.chain(access)
        TokenOrigin.objects.filter(parent__isnull=False).update(first=None)
        first = row(access).get()
        TokenOrigin.objects.filter(parent__isnull=False, personal_access_token=None).update(
            parent=first
        )
        for model in (PersonalAccessToken, ProjectKey):
            model.objects.update(lineage="", made_with_token="", upstream="")
            model.objects.filter(minted_with__in=row_pks()).update(minted_with=str(first.pk))

        revoke(site, access, site.web)

        assert site.alive(chain) == []

    def test_a_chain_of_keys_ends(self, site):
        keys = [lifecycle.mint(user=site.ada, name="top", scopes=["payments:read"])]
        for _ in range(4):
            made = lifecycle.mint(user=site.ada, name="k", scopes=["payments:read"])
            made.key.minted_with = keys[-1].key.public_id
            made.key.save()
            keys.append(made)

        lifecycle.revoke(keys[0].key)

        assert site.alive({each.key.pk: each.token for each in keys}) == []


def row_pks():
    return [str(pk) for pk in AccessToken.objects.values_list("pk", flat=True)]


def test_ending_no_tokens_costs_no_query(db, django_assert_num_queries):
    with django_assert_num_queries(0):
        chains.end_below([])


def test_ending_one_authorization_keeps_other_users_tokens(site):
    """Ending one user's authorization keeps the chains of other users."""
    access, _ = site.authorized()
    other = MembershipFactory(project=site.project, role="owner").user
    theirs = mint_pat(other, scopes=SCOPE.split())
    token = site.exchange(theirs.token)
    chain = {"token": token, "key": site.mint(token)}

    authorizations.end(site.web, site.ada)

    assert not site.is_alive(access)
    assert site.alive(chain) == list(chain)
