"""The fixtures that django-oauth-toolkit's tests use, with this app's classes as the defaults.

Its source archive has the tests but not their fixtures.
"""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone
from jwcrypto import jwk, jwt
from oauth2_provider import models
from oauth2_provider.settings import oauth2_settings as current

from . import presets

SECRET = "1234567890abcdefghijklmnopqrstuvwxyz"

# In place of the library's defaults, so that tests that replace all settings keep them.
current.defaults |= {
    "OAUTH2_VALIDATOR_CLASS": "apikeys.oauth.validators.Validator",
    "OAUTH2_SERVER_CLASS": "apikeys.oauth.server.Server",
    "OIDC_SERVER_CLASS": "apikeys.oauth.server.Server",
    "SCOPES_BACKEND_CLASS": "apikeys.oauth.scopes.Scopes",
}


class Declared(Mapping):
    """The scopes of ``OAUTH2_PROVIDER`` as those of ``APIKEYS``."""

    def __getitem__(self, name):
        return current.SCOPES[name]

    def __iter__(self):
        return iter(current.SCOPES)

    def __len__(self):
        return len(current.SCOPES)


class OAuthSettings:
    """The settings, which a test may replace together or one by one."""

    def __init__(self, settings):
        vars(self)["settings"] = settings
        self.update({})

    def update(self, given):
        self.settings.OAUTH2_PROVIDER = given
        current.reload()
        self.ALWAYS_RELOAD_OAUTHLIB_CORE = True

    def __getattr__(self, name):
        return getattr(current, name)

    def __setattr__(self, name, value):
        setattr(current, name, value)
        current._cached_attrs.add(name)

    def __delattr__(self, name):
        delattr(current, name)
        current._cached_attrs.discard(name)


@pytest.fixture(autouse=True)
def scopes(settings):
    settings.APIKEYS = settings.APIKEYS | {"SCOPES": Declared()}


@pytest.fixture(autouse=True)
def login_required(settings, request):
    """Every page needs a login, unless the test says otherwise."""
    if "nologinrequiredmiddleware" not in request.keywords:
        required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
        settings.MIDDLEWARE = [*settings.MIDDLEWARE, required]


@pytest.fixture
def oauth2_settings(request, settings):
    wrapper = OAuthSettings(settings)
    marker = request.node.get_closest_marker("oauth2_settings")
    if marker is not None:
        wrapper.update(marker.args[0])
    if request.instance is not None:
        request.instance.oauth2_settings = wrapper
    yield wrapper
    current.reload()


@pytest.fixture
def rp_settings(oauth2_settings):
    oauth2_settings.update(presets.OIDC_SETTINGS_RP_LOGOUT)
    return oauth2_settings


@pytest.fixture(scope="session")
def signing_key():
    return jwk.JWK.from_pem(django_settings.OIDC_RSA_PRIVATE_KEY.encode())


@pytest.fixture
def oidc_key(request, signing_key):
    if request.instance is not None:
        request.instance.key = signing_key
    return signing_key


def _application(host, kind=models.Application.CLIENT_CONFIDENTIAL, **facts):
    given = {
        "client_type": kind,
        "authorization_grant_type": models.Application.GRANT_AUTHORIZATION_CODE,
        "algorithm": models.Application.RS256_ALGORITHM,
        "client_secret": SECRET,
        "redirect_uris": host,
        "post_logout_redirect_uris": host,
    }
    return models.Application.objects.create(**given | facts)


@pytest.fixture
def application():
    return _application("http://example.org", name="Test Application")


@pytest.fixture
def public_application():
    kind = models.Application.CLIENT_PUBLIC
    return _application("http://other.org", kind, name="Other Application")


@pytest.fixture
def cors_application():
    origins = "https://example.com http://example.com"
    return _application("", name="Test CORS Application", allowed_origins=origins)


@pytest.fixture
def hybrid_application(application):
    application.authorization_grant_type = application.GRANT_OPENID_HYBRID
    application.client_secret = SECRET
    application.save()
    return application


@pytest.fixture
def test_user():
    return get_user_model().objects.create_user("test_user", "test@example.com", "123456")


@pytest.fixture
def other_user():
    return get_user_model().objects.create_user("other_user", "other@example.com", "123456")


@pytest.fixture
def logged_in_client(client, test_user):
    client = type(client)()
    client.force_login(test_user)
    return client


@pytest.fixture
def tokens(oauth2_settings, test_user, client):
    """Return a function that gets an access token and an ID token with a code."""

    def tokens(application, settings, scope):
        oauth2_settings.update(settings)
        client.force_login(test_user)
        request = {
            "client_id": application.client_id,
            "redirect_uri": application.redirect_uris,
            "response_type": "code",
            "scope": scope,
            "state": "random_state_string",
            "allow": True,
        }
        response = client.post(reverse("oauth2_provider:authorize"), request)
        client.logout()
        form = {
            "client_id": application.client_id,
            "client_secret": SECRET,
            "redirect_uri": application.redirect_uris,
            "grant_type": "authorization_code",
            "code": parse_qs(urlsplit(response["Location"]).query)["code"],
            "scope": scope,
        }
        found = client.post(reverse("oauth2_provider:token"), form).json()
        return SimpleNamespace(
            user=test_user,
            application=application,
            access_token=found["access_token"],
            id_token=found["id_token"],
            oauth2_settings=oauth2_settings,
        )

    return tokens


@pytest.fixture
def oidc_tokens(tokens, application):
    return tokens(application, presets.OIDC_SETTINGS_RW, "openid")


@pytest.fixture
def oidc_email_scope_tokens(tokens, application):
    return tokens(application, presets.OIDC_SETTINGS_EMAIL_SCOPE, "openid email")


@pytest.fixture
def oidc_non_confidential_tokens(tokens, public_application):
    return tokens(public_application, presets.OIDC_SETTINGS_EMAIL_SCOPE, "openid")


@pytest.fixture
def id_token(oauth2_settings, signing_key, test_user, application):
    """Return a function that signs an ID token that expired a minute ago."""

    def id_token(**changes):
        expires, jti = timezone.now() - timedelta(seconds=61), str(uuid.uuid4())
        claims = {
            "iss": oauth2_settings.OIDC_ISS_ENDPOINT,
            "aud": application.client_id,
            "exp": int(expires.timestamp()),
            "jti": jti,
        }
        header = {"typ": "JWT", "alg": "RS256", "kid": signing_key.thumbprint()}
        token = jwt.JWT(header=header, claims=claims | changes)
        token.make_signed_token(signing_key)
        models.IDToken.objects.create(
            user=test_user, application=application, scope="", expires=expires, jti=jti
        )
        return token.serialize()

    return id_token


@pytest.fixture
def expired_id_token(id_token):
    return id_token()


@pytest.fixture
def id_token_wrong_aud(id_token):
    return id_token(aud="")


@pytest.fixture
def id_token_wrong_iss(id_token):
    return id_token(iss="")
