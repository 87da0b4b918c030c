"""The front door of the example, its one login, its API docs and its error pages."""

import re
from html import unescape

import pytest
from django.contrib.staticfiles import finders
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory, override_settings
from django.views import defaults

from example_project.payments import demo
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.django_db


def links(response):
    found = re.findall(r'href="(/[^"]*)"', response.content.decode())
    return [unescape(url) for url in dict.fromkeys(found) if not url.startswith("/static/")]


def text_of(response):
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", response.content.decode())).split())


@pytest.fixture
def admin(engine):
    return UserFactory(username="admin", is_staff=True, is_superuser=True)


@pytest.mark.slow
def test_every_link_of_the_front_door_opens_after_one_login(client, admin):
    front = client.get("/")
    assert len(links(front)) >= 8
    client.force_login(admin)
    for url in links(front):
        assert client.get(url).status_code == 200, url


def test_front_door_names_the_demo_users_only_in_the_demo(client, db):
    assert demo.PASSWORD not in text_of(client.get("/"))
    assert demo.PASSWORD not in text_of(client.get("/login/"))
    with override_settings(DEMO=True):
        for url in ("/", "/login/"):
            assert "developer of Analytical Engine" in text_of(client.get(url))


def test_form_of_the_front_door_logs_in_without_javascript(client, ada):
    page = client.get("/").content.decode()
    action = re.search(r'id="login-form"[^>]*action="([^"]+)"', page)[1]
    form = {"username": "ada", "password": PASSWORD, "next": "/"}
    response = client.post(action, form, follow=True)
    assert response.redirect_chain == [("/", 302)]
    assert "Logged in as ada" in text_of(response)


def test_admin_uses_the_same_login(client, admin, ada):
    client.force_login(ada)
    response = client.get("/admin/", follow=True)
    assert "ada, who cannot open this page" in text_of(response)
    client.force_login(admin)
    assert client.get("/admin/").status_code == 200


@pytest.mark.parametrize("url", ["/", "/api/docs/", "/api/docs/?script="])
def test_pages_load_only_files_of_this_site(client, url):
    response = client.get(url)
    assert "default-src 'self'" in response["Content-Security-Policy"]
    assert "unsafe-inline" not in response["Content-Security-Policy"]
    page = response.content.decode()
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page)
    assert "<script>" not in page
    assert "<style>" not in page
    for path in re.findall(r'(?:src|href)="/static/([^"]+)"', page):
        assert finders.find(path), path


def test_unknown_page_says_what_to_do_next(client, ada):
    anonymous = client.get("/nowhere/")
    assert anonymous.status_code == 404
    assert "log in" in text_of(anonymous)
    client.force_login(ada)
    response = client.get("/settings/keys/projects/unknown/")
    assert response.status_code == 404
    assert "only some users can see it" in text_of(response)
    assert {"/", "/settings/keys/"} <= set(links(response))


def test_forbidden_page_offers_another_login(ada):
    request = RequestFactory().get("/anything/")
    request.user = ada
    response = defaults.permission_denied(request, PermissionDenied())
    assert response.status_code == 403
    assert "ada cannot do this" in text_of(response)
    assert "/login/" in links(response)


def test_form_with_an_old_token_says_that_nothing_was_changed(ada):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    response = client.post("/settings/keys/new/", {"name": "laptop"})
    assert response.status_code == 403
    assert "Nothing was changed." in text_of(response)
    assert 'class="ak-body"' in response.content.decode()


def test_bad_request_and_error_pages_need_no_user():
    request = RequestFactory().get("/")
    assert "Invalid request" in text_of(defaults.bad_request(request, ValueError()))
    assert "Try again in a moment" in text_of(defaults.server_error(request))
