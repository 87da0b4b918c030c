"""What users are told about an application: who registered it, and where its page leads."""

import pytest
from oauth2_provider.models import Application

from apikeys.oauth import identity
from apikeys.oauth.models import ClientSettings
from tests.factories import UserFactory

SOURCES = Application.RegistrationSource


def application(**facts):
    return Application(client_id="x", name="Ledger", **facts)


@pytest.mark.parametrize(
    ("source", "owner", "registered_by", "said"),
    [
        (SOURCES.MANUAL, None, "site", "registered by the operators of this site"),
        (SOURCES.MANUAL, "grace", "user", "registered by grace, a user of this site"),
        (SOURCES.MANUAL, "ada", "user", "You registered this application"),
        (SOURCES.DCR, None, "anonymous", "registered itself"),
        (SOURCES.DCR, "grace", "program", "by a program of grace"),
        (SOURCES.DCR, "ada", "program", "A program that you allowed"),
    ],
)
def test_each_kind_of_registration_has_its_sentence(db, source, owner, registered_by, said):
    ada, grace = UserFactory(username="ada"), UserFactory(username="grace")
    user = {"ada": ada, "grace": grace, None: None}[owner]
    found = identity.of(application(user=user, registration_source=source))

    assert found.registered_by == registered_by
    assert found.is_verified is (registered_by == "site")
    assert said in found.sentence(ada)
    assert found.title == "Ledger"


def test_a_client_with_a_metadata_document_is_its_host(db):
    client_id = "https://agent.example/client.json"
    found = identity.of(
        Application(client_id=client_id, name="Acme Bank", registration_source=SOURCES.CIMD)
    )

    assert (found.title, found.is_verified, found.is_self_named) == ("agent.example", False, True)
    assert "document on agent.example" in found.sentence()


def test_homepage_and_description_are_shown(db):
    row = application(redirect_uris="https://x.example/")
    row.save()
    ClientSettings.objects.create(application=row, homepage="https://x.example", description="D.")

    found = identity.of(Application.objects.get())
    assert (found.homepage, found.description) == ("https://x.example", "D.")


@pytest.mark.parametrize(
    ("uri", "host", "is_loopback"),
    [
        ("https://app.example/callback", "app.example", False),
        ("https://app.example:8443/", "app.example", False),
        ("https://bank.example@evil.example/", "evil.example", False),
        ("http://127.0.0.1:3000/callback", "127.0.0.1", True),
        ("http://[::1]/callback", "::1", True),
        ("http://localhost:3000/", "localhost", True),
        ("https://127.0.0.1.evil.example/", "127.0.0.1.evil.example", False),
        ("com.example.app:/callback", "com.example.app:", False),
        ("http://[", "", False),
        ("https://" + "a" * 600, "", False),
    ],
)
def test_a_redirect_uri_leads_to_its_host(uri, host, is_loopback):
    found = identity.destination(uri)
    assert (found.host, found.is_loopback) == (host, is_loopback)
