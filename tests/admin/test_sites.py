"""The models in an ``AdminSite`` of the site's own."""

import pytest
from django.apps import apps
from django.contrib.admin import AdminSite, ModelAdmin
from django.urls import path

import apikeys.admin
from apikeys.models import Membership
from tests.documents import blocks
from tests.factories import mint_key, mint_pat

scope = {}
exec(blocks("docs/reference/admin.md", "python")[0], scope)
staff = scope["staff"]
urlpatterns = [path("staff/", staff.urls)]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

LABELS = ("apikeys", "apikeys_gateway", "apikeys_issuers", "apikeys_oauth")


@pytest.mark.slow
@pytest.mark.usefixtures("root")
def test_own_admin_site_has_every_page_of_every_model(client, ada, engine):
    key = mint_pat(ada).key
    mint_key(engine)
    models = [m for m in staff._registry if m._meta.label_lower != "apikeys_oauth.tokenlifetime"]
    assert {m._meta.model_name for m in models} >= {"personalaccesstoken", "projectkey", "project"}
    assert {m._meta.app_label for m in staff._registry} == {
        apps.get_app_config(label).label for label in LABELS
    }
    for model in models:
        url = f"/staff/{model._meta.app_label}/{model._meta.model_name}/"
        assert client.get(url).status_code == 200, url
        for row in model._default_manager.all()[:1]:
            assert client.get(f"{url}{row.pk}/change/").status_code == 200, url
    page = client.get(f"/staff/apikeys/personalaccesstoken/{key.pk}/change/")
    assert '"/admin/' not in page.content.decode()


def test_a_model_that_the_site_has_registered_stays():
    own = AdminSite()
    own.register(Membership, ModelAdmin)
    apikeys.admin.register(own)
    assert type(own.get_model_admin(Membership)) is ModelAdmin
