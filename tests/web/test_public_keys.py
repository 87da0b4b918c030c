"""The pages of a project key with a public key."""

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from apikeys.models import ProjectKey
from apikeys.web.sudo import Sudo
from tests.factories import mint_key
from tests.signatures.test_minting import private_pem
from tests.signing import Caller, ed25519_key, p256_key, pem, send
from tests.web.conftest import KEYS, TOKENS, open_form, text_of


class Never(Sudo):
    """No log-in is recent."""

    def is_recent(self, request):
        return False

    def url(self, request, next_url):
        return "/login/"


FORM = {"name": "worker-3", "expiry": "30", "scopes:payments": "payments:read"}
ROTATION = {"overlap": "3600", "expiry": "keep"}


def make(page, **changes):
    entered = FORM | open_form(page, KEYS) | changes
    return page.post(f"{KEYS}new/", entered)


@pytest.mark.parametrize("make_key", [ed25519_key, p256_key])
def test_key_with_public_key_has_no_secret(page, engine, make_key):
    private = make_key()
    # Browsers submit a textarea with CRLF.
    response = make(page, public_key=pem(private).replace("\n", "\r\n"))
    key = ProjectKey.objects.get()
    assert response.status_code == 200
    assert key.public_key == pem(private)
    told = text_of(response)
    assert "It has no secret" in told
    assert "You will not be able to see it again" not in told
    assert f'value="{key.public_id}"' in response.content.decode()
    signer = Caller(key.public_id, private)
    answer = send(Client(), signer.sign("GET", "http://testserver/api/token/"))
    assert (answer.status_code, answer.json()["authorized_by"]) == (200, "ada")


def test_review_shows_the_public_key_and_creates_nothing(page, engine):
    public = pem(ed25519_key())
    response = make(page, public_key=public, step="review")
    assert "You sign requests with your private key" in text_of(response)
    assert public.splitlines()[1] in response.content.decode()
    assert ProjectKey.objects.count() == 0


@pytest.mark.parametrize("step", ["", "review", "edit", "summary"])
def test_a_private_key_is_refused_and_not_shown_again(page, engine, step):
    private = private_pem(ed25519_key())
    response = make(page, public_key=private, step=step)
    assert private.splitlines()[1] not in response.content.decode()
    assert ProjectKey.objects.count() == 0
    if step in ("", "review"):
        assert response.status_code == 422
        assert "This is a private key" in text_of(response)


@pytest.mark.parametrize("given", [private_pem(ed25519_key()), "hello"])
def test_private_key_is_not_kept_in_the_session(page, engine, given, settings):
    answer = open_form(page, KEYS)
    settings.APIKEYS = {**settings.APIKEYS, "SUDO": "tests.web.test_public_keys.Never"}
    response = page.post(f"{KEYS}new/", FORM | answer | {"public_key": given})
    assert response.status_code == 302
    kept = [row.get_decoded() for row in Session.objects.all()]
    assert "worker-3" in str(kept)
    assert given.splitlines()[-1] not in str(kept)


def test_public_key_is_kept_in_the_session(page, engine, settings):
    answer, public = open_form(page, KEYS), pem(ed25519_key())
    settings.APIKEYS = {**settings.APIKEYS, "SUDO": "tests.web.test_public_keys.Never"}
    page.post(f"{KEYS}new/", FORM | answer | {"public_key": public})
    (row,) = Session.objects.all()
    assert row.get_decoded()["apikeys_draft"]["data"]["public_key"] == [public]


@pytest.mark.slow
def test_invalid_or_reused_public_key_is_refused(page, engine):
    for given, told in [("hello", "This is not a public key"), ("{}", "This is not a public key")]:
        response = make(page, public_key=given)
        assert (response.status_code, told in text_of(response)) == (422, True)
    public = pem(ed25519_key())
    mint_key(engine, public_key=public)
    response = make(page, public_key=public)
    assert (response.status_code, "Generate a new key pair" in text_of(response)) == (422, True)


def test_form_for_tokens_has_no_public_key_field(page):
    assert 'name="public_key"' not in page.get(f"{TOKENS}new/").content.decode()
    assert 'name="public_key"' in page.get(f"{KEYS}new/").content.decode()


def test_page_of_the_key_shows_the_public_key(page, engine):
    key = mint_key(engine, public_key=pem(ed25519_key())).key
    response = page.get(f"{KEYS}{key.public_id}/")
    assert key.public_key.splitlines()[1] in response.content.decode()
    edit = page.get(f"{KEYS}{key.public_id}/edit/").content.decode()
    assert 'name="public_key"' not in edit


@pytest.mark.slow
def test_rotation_requires_a_new_public_key(page, engine):
    key = mint_key(engine, public_key=pem(ed25519_key())).key
    url = f"{KEYS}{key.public_id}/rotate/"
    assert page.post(url, ROTATION).status_code == 422
    assert page.post(url, ROTATION | {"public_key": key.public_key}).status_code == 422
    private = private_pem(ed25519_key())
    response = page.post(url, ROTATION | {"public_key": private})
    assert (response.status_code, private.splitlines()[1] in response.content.decode()) == (
        422,
        False,
    )
    new = pem(p256_key())
    response = page.post(url, ROTATION | {"public_key": new})
    assert response.status_code == 200
    assert ProjectKey.objects.get(replaces=key).public_key == new
    assert "Its predecessor still works" in text_of(response)


def test_key_with_a_secret_is_rotated_without_a_public_key(page, engine):
    key = mint_key(engine).key
    url = f"{KEYS}{key.public_id}/rotate/"
    assert 'name="public_key"' not in page.get(url).content.decode()
    assert "acme_key_" in page.post(url, ROTATION).content.decode()


def test_admin_shows_the_public_key(client, engine, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("root"))
    key = mint_key(engine, public_key=pem(ed25519_key())).key
    page = client.get(f"/admin/apikeys/projectkey/{key.pk}/change/").content.decode()
    assert key.public_key.splitlines()[1] in page
