"""The mixin that links the admin page of a user to the user's tokens and keys."""

import re
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Permission
from django.test import RequestFactory

from apikeys.admin import KeysOfUser
from tests.admin.conftest import KEYS, TOKENS
from tests.factories import UserFactory, mint_key, mint_pat


class PeopleAdmin(KeysOfUser, UserAdmin):
    pass


def page_of(person, viewer):
    request = RequestFactory().get("/")
    request.user = viewer
    found = PeopleAdmin(get_user_model(), admin.site).change_view(request, str(person.pk))
    return unescape(found.render().content.decode())


def links(html):
    return [url for url in re.findall(r'href="([^"]*)"', html) if "?" in url]


@pytest.mark.slow
def test_links_lead_to_the_keys_of_the_user_only(client, root):
    person = UserFactory()
    token, key = mint_pat(person, name="hers").key, mint_key(name="made by her", by=person).key
    mint_pat(name="of another"), mint_key(name="by another")
    urls = [f"{TOKENS}?user={person.pk}", f"{KEYS}?created_by={person.pk}"]
    assert [url for url in links(page_of(person, root)) if url in urls] == urls
    for url, own in zip(urls, (token, key), strict=True):
        html = client.get(url).content.decode()
        assert own.public_id in html
        assert "another" not in html


@pytest.mark.parametrize("name", ["view_personalaccesstoken", "view_projectkey", None])
def test_each_link_needs_the_permission_to_view_the_list(staff, name):
    viewer, person = staff(), UserFactory()
    names = ["view_user", *([name] if name else [])]
    viewer.user_permissions.set(Permission.objects.filter(codename__in=names))
    html = page_of(person, viewer)
    assert (f"{TOKENS}?user=" in html) is (name == "view_personalaccesstoken")
    assert (f"{KEYS}?created_by=" in html) is (name == "view_projectkey")
    assert ("API keys" in re.sub("(?s)<(title|header).*?</\\1>", "", html)) is bool(name)


def test_the_form_of_a_new_user_has_no_links(root):
    request = RequestFactory().get("/")
    request.user = root
    people = PeopleAdmin(get_user_model(), admin.site)
    assert people.get_fieldsets(request) == UserAdmin.add_fieldsets
    assert "tokens_of_user" not in people.get_readonly_fields(request)
