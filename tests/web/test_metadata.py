"""Metadata on the settings pages."""

import json
from html import unescape

import pytest

from apikeys import lifecycle
from apikeys.verify import verify
from tests.factories import mint_key, mint_pat
from tests.web.conftest import TOKENS, mint, open_form, secret_of, text_of

GIVEN = {"team": "Fakturierung für alle", "tags": [1, {"deep": None}]}
WRITTEN = json.dumps(GIVEN, ensure_ascii=False, indent=2)


def one(place, ada, engine, **kwargs):
    return mint_pat(ada, **kwargs) if place.url == TOKENS else mint_key(engine, **kwargs)


def entered(response):
    """Return the text of the field."""
    html = response.content.decode()
    start = html.index(">", html.index('name="metadata"')) + 1
    return unescape(html[start : html.index("</textarea>", start)]).lstrip("\n")


@pytest.mark.slow
def test_metadata_is_entered_shown_and_edited(page, place):
    made = mint(page, place, metadata=WRITTEN)
    token = secret_of(made)
    assert verify(token).metadata == GIVEN
    key = place.model.objects.get()
    url = f"{place.url}{key.public_id}/"
    assert "Fakturierung für alle" in text_of(page.get(url))
    assert json.loads(entered(page.get(f"{url}edit/"))) == GIVEN

    form = {name: value for name, value in place.form.items() if name != "expiry"}
    form |= {"expiry": "keep"}
    page.post(f"{url}edit/", form | {"metadata": '{"team": "sales"}'})
    assert verify(token).metadata == {"team": "sales"}
    activity = text_of(page.get(f"{place.url}activity/"))
    assert 'to {"team": "sales"} .' in activity.replace('"}.', '"} .')
    page.post(f"{url}edit/", form | {"metadata": "  "})
    assert verify(token).metadata == {}
    assert "Metadata" not in text_of(page.get(url))


@pytest.mark.slow
def test_an_error_says_where_it_is_and_loses_nothing(page, place):
    for written, words in {
        '{"team": "billing",\n "x": }': "line 2, column 7",
        '["a"]': "must be a JSON object",
        "null": "must be a JSON object",
        "0": "must be a JSON object",
        '{"a": NaN}': "JSON has no NaN",
        '{"a": 1, "a": 2}': "“a” occurs twice",
        '{"a": "%s"}' % ("x" * 4096): "4104 bytes",
        "[" * 100_000: "nested too deeply",
    }.items():  # fmt: skip
        response = mint(page, place, metadata=written)
        assert response.status_code == 422
        assert words in text_of(response), written[:50]
        assert entered(response) == written
    assert not place.model.objects.exists()


def test_a_key_in_the_metadata_is_not_shown_again(page, place):
    secret = mint_pat().token
    response = mint(page, place, metadata=json.dumps({"old": secret}))
    assert response.status_code == 422
    assert secret not in response.content.decode()
    assert "contains a key" in text_of(response)


def test_the_review_without_javascript_keeps_the_metadata(page, place):
    once = open_form(page, place.url)
    sent = place.form | once | {"metadata": WRITTEN, "step": "review"}
    review = page.post(f"{place.url}new/", sent)
    assert review.status_code == 200
    assert 'name="metadata"' in review.content.decode()


def test_a_duplicate_starts_with_the_metadata(page, place, ada, engine):
    key = one(place, ada, engine, metadata=GIVEN).key
    response = page.get(f"{place.url}new/?from={key.public_id}")
    assert json.loads(entered(response)) == GIVEN


def test_markup_in_the_metadata_is_text(page, place, ada, engine):
    key = one(place, ada, engine, metadata={"<b>": "<script>alert(1)</script>"}).key
    lifecycle.edit(key, metadata={"<i>": "</pre><img src=x>"})
    for path in ("", "edit/", "../activity/"):
        html = page.get(f"{place.url}{key.public_id}/{path}").content.decode()
        for markup in ("<script>alert", "<img src=x>", "<b>", "<i>"):
            assert markup not in html


def test_an_edit_of_the_name_keeps_a_concurrent_change(page, place, ada, engine):
    minted = one(place, ada, engine, metadata=GIVEN)
    url = f"{place.url}{minted.key.public_id}/edit/"
    lifecycle.edit(minted.key, metadata={"new": 1})
    shown = entered(page.get(url))
    form = place.form | {"expiry": "keep", "metadata": shown, "name": "other"}
    page.post(url, form)
    assert verify(minted.token).metadata == {"new": 1}
