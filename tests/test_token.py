"""The text of a key: a changed key, or a key of another site, is refused."""

import re
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apikeys import token
from tests.documents import DOCUMENTS, blocks, read

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
LOWER = string.digits + string.ascii_lowercase

prefixes = st.from_regex(rf"\A{token.PREFIX_PATTERN}\Z")
ids = st.text(LOWER, min_size=token.ID_LENGTH, max_size=token.ID_LENGTH)
secrets = st.text(BASE62, min_size=token.SECRET_LENGTH, max_size=token.SECRET_LENGTH)
keys = st.builds(token.compose, prefixes, st.sampled_from(token.KINDS), ids, secrets)


DOCUMENTED = re.compile(r"(?:acme|<prefix>)_[^\s`']*\{49\}")


def as_detect_secrets(pattern, text):
    """Return what detect-secrets stores: the first group, or the match without groups."""
    for match in re.findall(pattern, text):
        yield from filter(None, match) if isinstance(match, tuple) else [match]


@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(read(name), id=name) for name in DOCUMENTS if DOCUMENTED.search(read(name))),
        pytest.param(token.__doc__, id="apikeys.token"),
    ],
)
def test_scanners_store_the_whole_key(text):
    key = token.compose("acme", token.PAT, token.generate_id(), token.generate_secret())
    for pattern in DOCUMENTED.findall(text):
        found = list(as_detect_secrets(pattern.replace("<prefix>", "acme"), f"TOKEN = {key!r}"))
        assert found == [key]


def test_the_documents_name_the_regular_expression_for_scanners():
    for name in ("docs/reference/keys.md", "docs/reference/leaks.md"):
        assert r"acme_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}" in read(name), name
    assert not any(re.search(r"\(pat\|key\)", read(name)) for name in DOCUMENTS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("zejlosc9kd96fngc", "zejlosc9kd96fngc"),
        ("acme_pat_zejlosc9kd96fngc", "zejlosc9kd96fngc"),
        ("acme_key_zejlosc9kd96fngc", "zejlosc9kd96fngc"),
        (" ACME_PAT_ZEJLOSC9KD96FNGC\n", "zejlosc9kd96fngc"),
        ("acme_pat_zejlosc9kd96fngc_", "zejlosc9kd96fngc"),
        ("acme_pat_zejlosc9kd96fngc_[redacted]", "zejlosc9kd96fngc"),
        ("acme_pat_zejlosc9kd96fngc_…", "zejlosc9kd96fngc"),
        ("acme_key_zejl…", "zejl"),
        ("acme_key_zejl...", "zejl"),
        ("acme_pat_zejlosc9kd96fngc_[redacted]x", "acme_pat_zejlosc9kd96fngc_[redacted]x"),
        ("other_pat_zejl", "zejl"),
        ("Deploy", "deploy"),
        ("acme_pat_", "acme_pat_"),
        ("acme_app_zejlosc9kd96fngc", "acme_app_zejlosc9kd96fngc"),
        ("acme_pat_zejlosc9kd96fngcx", "acme_pat_zejlosc9kd96fngcx"),
        ("x acme_pat_zejlosc9kd96fngc", "x acme_pat_zejlosc9kd96fngc"),
        ("", ""),
    ],
)
def test_the_id_is_found_in_an_id_with_its_prefix(text, found):
    assert token.without_prefix(text) == found


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("acme_pat_zejlosc9kd96fngc_[redacted]", False),
        ("acme_pat_zejlosc9kd96fngc_… ", False),
        ("acme_pat_zejlosc9kd96fngc_a…", True),
        ("acme_pat_zejlosc9kd96fngc_…a", True),
        ("acme_pat_zejlosc9kd96fngc_[redacted] acme_pat_zejlosc9kd96fngc_a", True),
    ],
)
def test_a_text_without_its_secret_is_no_secret(text, holds):
    assert token.holds_start(text) is holds


@given(keys)
def test_nothing_is_taken_from_a_whole_key(key):
    assert token.without_prefix(key) == key.lower()


def prefix_of(text):
    return text.partition("_")[0]


@given(prefixes, st.sampled_from(token.KINDS), ids, secrets)
def test_a_composed_key_is_parsed(prefix, kind, public_id, secret):
    text = token.compose(prefix, kind, public_id, secret)

    assert token.parse(text, prefix) == (prefix, kind, public_id, secret)
    assert token.looks_like_key(text, prefix)
    assert len(text) == len(prefix) + 71


@given(keys, st.data())
def test_any_one_changed_character_is_malformed(text, data):
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.characters(exclude_characters=text[at]) | st.sampled_from(BASE62 + "_"))
    changed = text[:at] + letter + text[at + 1 :]

    assert token.parse(changed, prefix_of(text)) is None or changed == text


@given(keys, st.data())
def test_a_lost_or_a_doubled_or_a_swapped_character_is_malformed(text, data):
    at = data.draw(st.integers(0, len(text) - 2))
    for changed in (
        text[:at] + text[at + 1 :],
        text[:at] + text[at] + text[at:],
        text[:at] + text[at + 1] + text[at] + text[at + 2 :],
    ):
        assert changed == text or token.parse(changed, prefix_of(text)) is None


@given(keys, st.text(max_size=3), st.text(max_size=3))
def test_text_around_a_key_is_malformed(text, before, after):
    assert (token.parse(before + text + after, prefix_of(text)) is None) == bool(before or after)


@given(st.text())
def test_noise_is_malformed(text):
    assert token.parse(text, "acme") is None
    assert token.parse("acme_pat_" + text, "acme") is None


@given(keys, prefixes)
def test_a_key_of_another_site_is_refused(text, prefix):
    ours = prefix == prefix_of(text)

    assert (token.parse(text, prefix) is not None) == ours
    assert token.looks_like_key(text, prefix) == ours


@given(keys, st.text(string.punctuation.replace("_", "") + " \n\t", min_size=1))
def test_the_documented_expression_finds_a_key_in_any_text(text, around):
    (pattern,) = set(re.findall(r"`(acme_\(\?:pat\|key\)_[^`]+)`", read("docs/reference/keys.md")))
    pattern = pattern.replace("acme", prefix_of(text))

    found = re.search(rf"\b{pattern}\b", around + text + around)
    assert found is not None
    assert found[0] == text


def test_the_documented_picture_shows_the_shape():
    picture = blocks("docs/reference/keys.md", "text")[0].splitlines()[0]
    assert re.fullmatch(r"acme_pat_[0-9a-z]{16}_[0-9A-Za-z]+…", picture)


@pytest.mark.parametrize("made", [token.generate_id, token.generate_secret])
def test_every_letter_of_the_alphabet_is_drawn(made):
    alphabet = LOWER if made is token.generate_id else BASE62
    drawn = [made() for _ in range(500)]

    assert set("".join(drawn)) == set(alphabet)
    assert len(set(drawn)) == 500


def test_an_id_has_one_letter_case():
    """So a case-insensitive collation cannot confuse two IDs."""
    ids = [token.generate_id() for _ in range(500)]
    assert [public_id.lower() for public_id in ids] == ids

    text = token.compose("acme", "pat", "A" * 16, "s" * 43)
    assert token.parse(text, "acme") is None


def test_a_secret_has_256_bits():
    assert len(BASE62) ** token.SECRET_LENGTH >= 2**256


@pytest.mark.parametrize("digits", ["٠", "०", "𝟎"])  # noqa: RUF001
def test_only_ascii_digits_are_digits(digits):
    text = token.compose("acme", "pat", "0" * 16, "0" * 43)
    assert token.parse(text.replace("0", digits, 1), "acme") is None


@given(st.text(string.printable))
def test_the_checksum_is_crc_32_in_base62(text):
    number = 0
    for digit in token.checksum(text):
        number = number * 62 + BASE62.index(digit)
    assert number == zlib.crc32(text.encode())


def test_the_repr_omits_the_secret():
    text = token.compose("acme", "pat", "0" * 16, "s" * 43)
    parsed = token.parse(text, "acme")

    assert "sss" not in f"{parsed!r} {parsed} {[parsed]!r}"


def test_grant_has_one_id_for_each_client_and_user():
    found = {token.grant_id(*pair) for pair in [(1, 2), (2, 1), (1, 22), (12, 2), (1, None)]}
    assert len(found) == 5
    assert all(map(token.is_id, found))
    assert token.grant_id(1, 2) == token.grant_id("1", "2")
