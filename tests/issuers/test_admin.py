"""Identities and denials in Django's admin."""

import pytest
from django.contrib.auth.models import Permission
from django.db import IntegrityError
from django.urls import reverse

from apikeys import grants
from apikeys.issuers import denials
from apikeys.issuers.models import Denial, Identity
from apikeys.lifecycle import mint
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import UserFactory
from tests.issuers.provider import URL, sign

pytestmark = pytest.mark.django_db
ADD = "admin:apikeys_issuers_identity_add"
DENY = "admin:apikeys_issuers_denial_add"


@pytest.fixture
def root(client):
    user = UserFactory(username="root", is_staff=True, is_superuser=True)
    client.force_login(user)
    return user


def errors(response):
    return response.context["adminform"].form.errors.as_text()


def test_staff_do_not_link_themselves_to_a_superuser(client, trust):
    root = UserFactory(username="root", is_staff=True, is_superuser=True)
    clerk = UserFactory(username="clerk", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(content_type__model="identity"))
    client.force_login(clerk)
    trust()
    form = {"issuer": URL, "subject": "clerk-at-the-provider"}
    response = client.post(reverse(ADD), form | {"user": root.pk})
    assert "Only a superuser can add one for a superuser" in errors(response)
    assert not Identity.objects.exists()
    assert client.post(reverse(ADD), form | {"user": clerk.pk}).status_code == 302
    # Nor does a link move to another user later.
    url = reverse("admin:apikeys_issuers_identity_change", args=[Identity.objects.get().pk])
    client.post(url, {"user": root.pk})
    assert Identity.objects.get().user == clerk


def test_second_link_of_a_subject_is_refused(client, root, identity, ada):
    form = {"issuer": URL, "subject": identity.subject, "user": root.pk}
    assert "already has a user" in errors(client.post(reverse(ADD), form))
    with pytest.raises(IntegrityError):
        Identity(issuer=URL, subject=identity.subject, user=root).save()


def test_identity_and_denial_keep_what_they_are_about(identity):
    identity.subject = "u-2"
    with pytest.raises(ValueError, match="Create another one"):
        identity.save()
    denial = Denial.objects.create(what="sub", issuer=URL, value="other")
    denial.value = identity.subject
    with pytest.raises(ValueError, match="Create another one"):
        denial.save()


@pytest.mark.parametrize("name", [ADD, DENY])
def test_issuer_that_the_site_does_not_trust_is_refused(client, root, trust, name):
    trust()
    form = {"issuer": URL + "/", "subject": "u-1", "what": "sub", "value": "u-1", "user": root.pk}
    assert "exactly" in errors(client.post(reverse(name), form))


def test_denied_token_ends_the_keys_that_it_created(client, root, identity, ada, trust):
    trust(MANAGE_KEYS=True)
    access = verify(sign(scope="payments:read keys:write", jti="7"))
    within = grants.for_tokens(ada, access)
    made = mint(
        user=ada, name="s", scopes=["payments:read"], expires_at=within.latest_expiry, by=ada,
        within=within,
    )  # fmt: skip
    verify(made.token)
    form = {"issuer": URL, "what": "jti", "value": "7", "reason": "Stolen."}
    assert client.post(reverse(DENY), form).status_code == 302
    with pytest.raises(Refused):
        verify(made.token)
    assert Denial.objects.get().reason == "Stolen."


@pytest.mark.parametrize("value", ["u-1", "ü"])  # the second one is not stored whole
def test_reason_of_a_logout_changes_nothing_else(client, root, trust, value):
    trust()
    row, _is_new = denials.deny("sub", URL, value, until=5)
    url = reverse("admin:apikeys_issuers_denial_change", args=[row.pk])
    assert client.post(url, {"reason": "Checked."}).status_code == 302
    changed = Denial.objects.get()
    assert (changed.pk, changed.until, changed.reason) == (row.pk, 5, "Checked.")
