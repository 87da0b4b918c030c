"""Errors of the authorization endpoint that are shown to the user, in the look of the site."""

import re

import pytest

from tests.oauth.conftest import REDIRECT


def text_of(response):
    body = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(body.split())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"client_id": "gone"}, "does not know the application"),
        ({"client_id": ""}, "does not know the application"),
        ({"redirect_uri": "https://evil.example/"}, "an address that it has not registered"),
        ({"redirect_uri": "x"}, "an address that it has not registered"),
        ({"redirect_uri": f"{REDIRECT}?next=https://evil.example"}, "has not registered"),
        ({"state": "\0"}, "a request that this site cannot answer"),
    ],
)
@pytest.mark.parametrize("method", ["get", "post"])
def test_the_page_says_what_happened_and_what_to_do(client, ada, query, change, said, method):
    client.force_login(ada)
    form = query | {"allow": "Authorize"} | change
    response = getattr(client, method)("/o/authorize/", form)

    text = text_of(response)
    assert response.status_code == 400
    assert "Location" not in response
    assert said in text
    assert "Start again from the application" in text
    assert "Nothing was shared" in text
    assert "ak-button" in response.content.decode()
    assert "default-src 'self'" in response["Content-Security-Policy"]


@pytest.mark.parametrize("path", ["GONE0000", "ABCDEFGH"])
def test_a_device_code_that_no_longer_works_leads_to_a_new_one(client, ada, app, path):
    client.force_login(ada)
    response = client.get(f"/o/device-confirm/app/{path}")

    assert response.status_code == 404
    assert "This code no longer works" in text_of(response)
    assert 'href="/o/device/"' in response.content.decode()
