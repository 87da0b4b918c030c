"""What one process revokes, another process refuses at the next request, with its cache on."""

import contextlib
import io

import httpx
import pytest
from django.core.management import call_command
from django.test import Client

from apikeys import lifecycle
from apikeys.cache import get_cache
from apikeys.issuers import denials, logout
from apikeys.issuers.denials import What
from apikeys.issuers.models import Identity
from tests.factories import bearer
from tests.gateway.servers import Site
from tests.issuers import provider
from tests.issuers.provider import URL, sign
from tests.servers import RedisServer, running, wait_until
from tests.tiers import long
from tests.workloads.issuer import GITHUB, KUBERNETES, SETTINGS, TRUST

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SUBJECT = "system:serviceaccount:production:deploy"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ENTRY = {
    "AUDIENCES": [provider.AUDIENCE],
    "JWKS": provider.jwks(),
    "LOGOUT_CLIENT_IDS": ["web"],
}


class Other:
    """A second process of the site."""

    def __init__(self, port):
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)

    def ask(self, text):
        response = self.http.get("/api/token/", headers=bearer(text))
        return response.status_code, response.json().get("code")

    def keeps_rows(self):
        return self.http.get("/keeps-rows/").json()["code"] is None

    def keep(self, text):
        """Let the process cache what it knows about ``text``."""
        wait_until(self.keeps_rows)
        for _ in range(3):
            assert self.ask(text) == (200, None)

    def exchange(self, assertion, **changes):
        form = {"grant_type": GRANT, "assertion": assertion} | changes
        response = self.http.post("/o/token/", data=form)
        return response.status_code, response.json()


@pytest.fixture(scope="module")
def configuration(tmp_path_factory):
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as redis:
        yield {"CACHE": {"LOCATION": redis.url}, "ISSUERS": {URL: ENTRY}, **SETTINGS}


@pytest.fixture(scope="module")
def process(configuration, django_db_setup, django_db_blocker):
    urls = {"ROOT_URLCONF": "tests.server_urls"}
    with django_db_blocker.unblock(), Site(django=urls, **configuration) as site:
        yield site


@pytest.fixture
def other(process, configuration, settings):
    """The second process. This process uses the same Redis."""
    settings.APIKEYS = {**settings.APIKEYS, **configuration}
    assert get_cache().tracking.wait(10)
    other = Other(process.port)
    with contextlib.closing(other.http):
        yield other


@pytest.fixture
def identity(ada):
    return Identity.objects.create(issuer=URL, subject="u-1", user=ada)


def deny_subject(identity):
    words = ["--issuer", URL, "--subject", "u-1"]
    call_command("apikeys", "deny", *words, stdout=io.StringIO())


def deny_token(identity):
    denials.deny(What.TOKEN, URL, "t-1")


def log_out(identity):
    given = {"aud": "web", "jti": "l-1", "events": {logout.EVENT: {}}}
    text = sign(header={"typ": "logout+jwt"}, **given)
    response = Client().post("/issuers/backchannel-logout/", {"logout_token": text})
    assert response.status_code == 200


def log_out_of_session(identity):
    given = {"aud": "web", "jti": "l-2", "sid": "s-1", "events": {logout.EVENT: {}}}
    text = sign(header={"typ": "logout+jwt"}, **given)
    response = Client().post("/issuers/backchannel-logout/", {"logout_token": text})
    assert response.status_code == 200


def deactivate_user(identity):
    identity.user.is_active = False
    identity.user.save()


def delete_identity(identity):
    identity.delete()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (deny_subject, "revoked_token"),
        long((deny_token, "revoked_token")),
        (log_out, "revoked_token"),
        long((log_out_of_session, "revoked_token")),
        (deactivate_user, "inactive_user"),
        long((delete_identity, "unknown_identity")),
    ],
)
def test_token_of_an_issuer_ends_in_every_process(other, identity, end, code):
    text = sign(jti="t-1", sid="s-1", name=end.__name__)
    other.keep(text)
    end(identity)
    assert other.ask(text) == (401, code)


@pytest.fixture
def key(engine):
    asked = {"name": "deploy", "scopes": ["payments:read"], "trust": TRUST}
    return lifecycle.mint(project=engine, **asked).key


def exchanged(other, **changes):
    status, issued = other.exchange(GITHUB.token(), **changes)
    assert status == 200, issued
    return issued["access_token"]


def reason(answer):
    status, body = answer
    return status, body["error_description"].rpartition("refused: ")[2]


class TestTrustedKey:
    def test_revoked_key_ends_its_tokens_and_exchanges_no_more(self, other, key):
        text = exchanged(other)
        other.keep(text)
        lifecycle.revoke(key)
        assert other.ask(text)[0] == 401
        assert reason(other.exchange(GITHUB.token())) == (400, "revoked_key.")

    def test_exchanged_token_loses_what_the_key_loses(self, other, key):
        text = exchanged(other)
        other.keep(text)
        lifecycle.edit(key, scopes=["reports:read"])
        response = other.http.get("/api/payments/", headers=bearer(text))
        assert response.status_code == 403

    def test_new_rules_apply_to_the_next_exchange(self, other, key):
        exchanged(other)
        lifecycle.edit(key, trust={"issuer": "github", "claims": {"repository_id": 2}})
        assert reason(other.exchange(GITHUB.token())) == (400, "workload_not_trusted.")

    def test_token_is_used_up_in_every_process(self, other, key, client):
        text = GITHUB.token()
        form = {"grant_type": GRANT, "assertion": text}
        assert client.post("/o/token/", form).status_code == 200
        assert reason(other.exchange(text)) == (400, "replayed_token.")

    def test_converted_key_refuses_its_secret_in_every_process(self, other, engine):
        minted = lifecycle.mint(project=engine, name="server", scopes=["payments:read"])
        other.keep(minted.token)
        lifecycle.convert(minted.key, trust=TRUST, overlap=lifecycle.MAX_OVERLAP * 0)
        assert other.ask(minted.token) == (401, "invalid_key")
        assert exchanged(other)


class TestDirectUse:
    @pytest.fixture
    def key(self, engine):
        trust = {"issuer": "kubernetes", "claims": {"sub": SUBJECT}}
        asked = {"name": "pod", "scopes": ["payments:read"], "trust": trust, "direct_use": True}
        return lifecycle.mint(project=engine, **asked).key

    def test_revoked_key_refuses_the_pod(self, other, key):
        text = KUBERNETES.token()
        other.keep(text)
        lifecycle.revoke(key)
        assert other.ask(text) == (401, "revoked_key")

    def test_new_rules_refuse_the_pod(self, other, key):
        text = KUBERNETES.token()
        other.keep(text)
        claims = {"sub": "system:serviceaccount:production:other"}
        lifecycle.edit(key, trust={"issuer": "kubernetes", "claims": claims})
        assert other.ask(text) == (401, "workload_not_trusted")

    def test_pod_is_refused_by_a_key_that_is_exchanged_only(self, other, key):
        text = KUBERNETES.token()
        other.keep(text)
        lifecycle.edit(key, direct_use=False)
        assert other.ask(text) == (401, "exchange_required")

    def test_deactivated_project_refuses_the_pod(self, other, key):
        text = KUBERNETES.token()
        other.keep(text)
        key.project.is_active = False
        key.project.save()
        assert other.ask(text) == (401, "inactive_project")


def test_the_other_process_keeps_rows(other, ada):
    """Otherwise the tests above would show nothing: a change past the signals is not noticed."""

    def is_kept():
        identity = Identity.objects.create(issuer=URL, subject="u-1", user=ada)
        text = sign(jti="t-2", name="kept")
        other.keep(text)
        Identity.objects.filter(pk=identity.pk)._raw_delete("default")
        return other.ask(text) == (200, None)

    wait_until(is_kept)  # a process that waits long for its turn stops trusting its rows
