"""A project key that holds a public key, on the pages."""

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
    """Nobody's log-in is recent."""

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
def test_there_is_no_secret_to_be_shown(page, engine, make_key):
    private = make_key()
    # As a browser sends the lines of a text area.
    response = make(page, public_key=pem(private).replace("\n", "\r\n"))
    key = ProjectKey.objects.get()
    assert response.status_code == 200
    assert key.public_key == pem(private)
    told = text_of(response)
    assert "It has no secret" in told
    assert "only time that it is shown" not in told
    assert f'value="{key.public_id}"' in response.content.decode()
    signer = Caller(key.public_id, private)
    answer = send(Client(), signer.sign("GET", "http://testserver/api/token/"))
    assert (answer.status_code, answer.json()["authorized_by"]) == (200, "ada")


def test_the_review_says_so_and_loses_nothing(page, engine):
    public = pem(ed25519_key())
    response = make(page, public_key=public, step="review")
    assert "requests with it are signed with your private key" in text_of(response)
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
def test_nor_is_it_kept_until_they_are_back(page, engine, given, settings):
    answer = open_form(page, KEYS)
    settings.APIKEYS = {**settings.APIKEYS, "SUDO": "tests.web.test_public_keys.Never"}
    response = page.post(f"{KEYS}new/", FORM | answer | {"public_key": given})
    assert response.status_code == 302
    kept = [row.get_decoded() for row in Session.objects.all()]
    assert "worker-3" in str(kept)
    assert given.splitlines()[-1] not in str(kept)


def test_a_public_key_is(page, engine, settings):
    answer, public = open_form(page, KEYS), pem(ed25519_key())
    settings.APIKEYS = {**settings.APIKEYS, "SUDO": "tests.web.test_public_keys.Never"}
    page.post(f"{KEYS}new/", FORM | answer | {"public_key": public})
    (row,) = Session.objects.all()
    assert row.get_decoded()["apikeys_draft"]["data"]["public_key"] == [public]


def test_what_is_wrong_is_said(page, engine):
    for given, told in [("hello", "This is no public key"), ("{}", "This is no public key")]:
        response = make(page, public_key=given)
        assert (response.status_code, told in text_of(response)) == (422, True)
    public = pem(ed25519_key())
    mint_key(engine, public_key=public)
    response = make(page, public_key=public)
    assert (response.status_code, "Make a new pair" in text_of(response)) == (422, True)


def test_tokens_have_no_such_field(page):
    assert 'name="public_key"' not in page.get(f"{TOKENS}new/").content.decode()
    assert 'name="public_key"' in page.get(f"{KEYS}new/").content.decode()


def test_the_page_of_the_key_shows_it(page, engine):
    key = mint_key(engine, public_key=pem(ed25519_key())).key
    response = page.get(f"{KEYS}{key.public_id}/")
    assert key.public_key.splitlines()[1] in response.content.decode()
    edit = page.get(f"{KEYS}{key.public_id}/edit/").content.decode()
    assert 'name="public_key"' not in edit


def test_rotation_takes_a_new_one(page, engine):
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


def test_a_key_with_a_secret_is_rotated_as_ever(page, engine):
    key = mint_key(engine).key
    url = f"{KEYS}{key.public_id}/rotate/"
    assert 'name="public_key"' not in page.get(url).content.decode()
    assert "acme_key_" in page.post(url, ROTATION).content.decode()


def test_the_admin_shows_it(client, engine, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("root"))
    key = mint_key(engine, public_key=pem(ed25519_key())).key
    page = client.get(f"/admin/apikeys/projectkey/{key.pk}/change/").content.decode()
    assert key.public_key.splitlines()[1] in page
