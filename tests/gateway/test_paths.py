"""Paths that servers read differently are refused; all others are compared exactly."""

import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from apikeys.gateway.paths import Ambiguous, Template, decode, encode, is_method, parse

OFFERS = Template("/subscribers/{subscriber_id}/offers")


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        ("/", ("",)),
        ("/a", ("a",)),
        ("/a/", ("a", "")),
        ("/a/b-c_d~e.f", ("a", "b-c_d~e.f")),
        ("/a@b:c$d", ("a@b:c$d",)),
        ("/caf%C3%A9", ("café",)),
        ("/a?", ("a",)),
        ("/a?x=1&y=%20/../b;c", ("a",)),
        ("/.well-known", (".well-known",)),
    ],
)
def test_a_plain_target_is_split_into_segments(target, segments):
    assert parse(target).segments == segments


@pytest.mark.parametrize(
    "target",
    [
        *("", "a", "*", "http://upstream/a", "//a", "/a//b", "/a//", "///", "a/b"),
        *("/.", "/..", "/a/../b", "/a/./b", "/a/..", "/...", "/a.", "/a./b", "/a../b"),
        *("/%2e%2e/b", "/a/%2E%2E/b", "/.%2e/b", "/%2e", "/a%2e", "/%252e%252e/b"),
        *("/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a\\b", "/a%252Fb", "/a%25b", "/a%"),
        *("/a;b", "/a;x=1/b", "/..;/b", "/a%3bb", "/a%3Fb", "/a%23b", "/a#b"),
        *("/a\x00", "/a%00", "/a\r\nX: y", "/a%0d%0a", "/a\tb", "/a b", "/a%20b", "/a+b", "/a%7f"),
        *("/%61", "/%41", "/a%2Db", "/%zz", "/%c3%a9", "/%C3%a9", "/caf\u00e9", "/cafÃ©"),
        *("/%C0%AE", "/%C0%AF", "/%E0%80%AE", "/%FF", "/%ED%A0%80", "/%F4%90%80%80"),
        *("/%EF%BC%8F", "/%EF%BC%8E%EF%BC%8E", "/%E2%80%8B", "/e%CC%81", "/%C2%A0", "/%C2%80"),
        *("/a,b", "/a, /b", "/a,/b", "/a?x,/b", "/a|b", "/a<b", '/a"b', "/a'b", "/{a}", "/a*"),
        *("/a?\r\nX: y", "/a?x=%0d", "/a?x=%00", "/a?x=%", "/a?x y", "/a?é", "/a?x#y", "/a?x\\y"),
        "/" + "a" * 8000,
    ],
)
def test_an_ambiguous_target_is_refused(target):
    with pytest.raises(Ambiguous):
        parse(target)


@given(st.text())
def test_a_segment_has_one_spelling(text):
    try:
        segment = encode(text)
    except (Ambiguous, UnicodeEncodeError):
        return
    assert decode(segment) == text
    assert unquote(segment) == text
    assert re.fullmatch(r"[!-~]+", segment)


@given(st.text("abAB01.%/\\;eEfFcC25 \x00é-_~", max_size=20))
def test_accepted_targets_mean_the_same_to_every_server(path):
    try:
        segments = parse("/" + path).segments
    except Ambiguous:
        return
    # Servers that decode once, twice or never, and servers that remove dot segments, all agree.
    assert [encode(s) if s else "" for s in segments] == path.split("/")
    assert "/".join(segments) == unquote(path) == unquote(unquote(path))
    assert not {".", ".."} & set(segments)
    assert "" not in segments[:-1]


@given(st.text(min_size=1, max_size=12), st.integers(0, 12))
def test_needless_encoding_of_any_character_is_refused(text, at):
    assume("/" not in text)
    try:
        plain = encode(text)
    except (Ambiguous, UnicodeEncodeError):
        return
    at %= len(plain)
    assume(plain[at] != "%" and "%" not in plain[max(0, at - 2) : at])
    with pytest.raises(Ambiguous):
        parse("/" + plain[:at] + f"%{ord(plain[at]):02X}" + plain[at + 1 :])


def test_a_template_extracts_its_parameters():
    assert OFFERS.match(parse("/subscribers/1001/offers?page=2")) == {"subscriber_id": "1001"}
    assert OFFERS.match(parse("/subscribers/caf%C3%A9/offers")) == {"subscriber_id": "café"}


@pytest.mark.parametrize(
    "target",
    [
        *("/subscribers/1001", "/subscribers/1001/", "/subscribers/1001/offers/", "/"),
        *("/subscribers/1001/offers/1", "/Subscribers/1001/offers", "/subscribers/1001/OFFERS"),
        *("/x/subscribers/1001/offers", "/subscribers"),
    ],
)
def test_other_paths_do_not_match(target):
    assert OFFERS.match(parse(target)) is None


def test_two_asterisks_match_one_or_more_segments():
    rest = Template("/subscribers/{id}/**")
    assert rest.match(parse("/subscribers/1/a")) == {"id": "1"}
    assert rest.match(parse("/subscribers/1/a/b/")) == {"id": "1"}
    assert rest.match(parse("/subscribers/1")) is None
    assert rest.match(parse("/subscribers/1/")) is None


def test_the_more_specific_ranks_first():
    ranked = ["/a/b", "/a/{x}", "/a/**", "/{x}/b", "/{x}/{y}", "/**"]
    assert sorted(map(Template, reversed(ranked)), key=lambda t: t.rank) == [
        Template(text) for text in ranked
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("", "a", "//", "/a//b", "/{a}{b}", "/x{a}", "/{a", "/{}", "/{1}", "/**/a", "/*", "/../a"),
        *("/{a}/{a}", "/a b", "/a?b", "/a%2Fb", "/a."),
    ],
)
def test_invalid_templates_are_refused(text):
    with pytest.raises(ValueError, match=r"\.$"):
        Template(text)


@pytest.mark.parametrize("method", ["get", "Get", "", "GET POST", "GET\n", "G-T", "É", "A" * 21])
def test_a_method_has_only_capital_letters(method):
    assert not is_method(method)
    assert is_method("GET")


def test_every_escape_of_a_dot_is_refused():
    for dots in (".", "..", "%2e", "%2E", quote(".", safe=""), "%252e", "%u002e", "%c0%ae"):
        with pytest.raises(Ambiguous):
            parse(f"/subscribers/1001/{dots}/offers")
