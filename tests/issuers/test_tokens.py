"""Each fault of a token has its own code, and costs neither a fetch nor more than linear time."""

import hmac
import json
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import RSAKey

from apikeys.issuers import keys, tokens
from apikeys.refusals import Refused
from tests.issuers import provider
from tests.issuers.provider import AUDIENCE, KEYS, URL, encoded, issuer, sign


@pytest.fixture(autouse=True)
def _never_fetch(monkeypatch):
    monkeypatch.setattr(keys, "fetch", lambda *args: pytest.fail("A bad token led to a fetch."))


def code(token, given=None, **options):
    with pytest.raises(Refused) as refused:
        tokens.read(token, given or issuer(JWKS=None), **options)
    assert refused.value.refusal.status in (401, 503)
    return refused.value.refusal.code


@pytest.mark.parametrize("alg", KEYS)
def test_signed_token_is_read(alg):
    claims = tokens.read(sign(alg, roles=["admin"], deep={"a": [1]}), issuer())
    assert claims["sub"] == "u-1"
    assert claims["roles"] == ("admin",)
    assert json.loads(json.dumps(claims))["deep"] == {"a": [1]}


def test_claims_are_read_only():
    claims = tokens.read(sign(deep={"a": 1}), issuer())
    for change in (
        lambda: claims.update(sub="u-2"),
        lambda: claims.__setitem__("sub", "u-2"),
        lambda: claims["deep"].pop("a"),
    ):
        with pytest.raises(TypeError):
            change()


def test_issuer_of_reads_without_verifying():
    assert tokens.issuer_of(sign(exp=1)) == URL
    assert tokens.issuer_of(sign(iss="https://other.example.com")) == "https://other.example.com"


@pytest.mark.parametrize(
    "text",
    ["", "a.b.c", "eyJ.eyJ.x", "acme_pat_0123", "eyJh.W10.x", "eyJh.bnVsbA.x", "e" * 20_000]
    + [f"eyJh.{encoded(each)}.x" for each in ("{}", '{"iss": 1}', '{"iss": null}', "{", "\ufeff{}")]
    + [
        f"eyJh.{encoded('[' * 6000)}.x",
        f"eyJh.{encoded(json.dumps({'iss': URL}))}{'A' * 20_000}.x",
    ],
)
def test_issuer_of_returns_none_for_other_text(text):
    assert tokens.issuer_of(text) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"exp": int(time.time()) - 60}, "expired_token"),
        ({"exp": None}, "missing_claim"),
        ({"exp": "tomorrow"}, "malformed_token"),
        ({"exp": True}, "malformed_token"),
        ({"exp": -1}, "malformed_token"),
        ({"exp": 2**60}, "malformed_token"),
        ({"nbf": int(time.time()) + 3600}, "token_not_yet_valid"),
        ({"iat": int(time.time()) + 3600}, "token_not_yet_valid"),
        ({"aud": "https://other.example.com"}, "wrong_audience"),
        ({"aud": [AUDIENCE + "/"]}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": {AUDIENCE: 1}}, "wrong_audience"),
        ({"aud": [[AUDIENCE]]}, "wrong_audience"),
        ({"iss": URL + "/"}, "untrusted_issuer"),
        ({"iss": [URL]}, "untrusted_issuer"),
    ],
)
def test_bad_claim_is_refused(changes, expected):
    assert code(sign(**changes)) == expected


def test_clock_may_differ_within_the_leeway():
    now = int(time.time())
    assert tokens.read(sign(exp=now - 10, nbf=now + 10), issuer())
    assert code(sign(exp=now - 10), issuer(LEEWAY=0)) == "expired_token"


def test_one_of_several_audiences_is_enough():
    assert tokens.read(sign(aud=["other", AUDIENCE]), issuer())


def test_audiences_of_the_caller_take_the_place_of_the_entry():
    token = sign(aud="https://here.example.com")
    assert tokens.read(token, issuer(), audiences=["https://here.example.com"])
    assert code(sign(), audiences=["https://here.example.com"]) == "wrong_audience"
    assert code(sign(), audiences=[]) == "wrong_audience"


@pytest.mark.parametrize("claim", ["client_id", "azp", "cid", "appid"])
def test_client_takes_the_place_of_the_audience(claim):
    given = issuer(AUDIENCES=None, CLIENT_IDS=["web"])
    assert tokens.read(sign(aud=None, **{claim: "web"}), given)
    assert code(sign(aud=None, **{claim: "cli"}), given) == "wrong_client"
    assert code(sign(aud=None), given) == "wrong_client"


def test_first_client_claim_decides():
    given = issuer(AUDIENCES=None, CLIENT_IDS=["web"])
    assert code(sign(client_id="evil", azp="web"), given) == "wrong_client"
    assert code(sign(client_id=["web"], azp="web"), given) == "wrong_client"


@pytest.mark.parametrize("name", ["crit", "jku", "x5u", "jwk", "b64", "zip"])
def test_unsupported_header_parameter_is_refused(name):
    assert code(sign(header={name: "https://evil.example.com"})) == "unsupported_header"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("logout+jwt", "token_type_not_accepted"), ("", None), ("application/at+JWT", None)],
)
def test_type_of_the_header_is_checked(kind, expected):
    token = sign(header={"typ": kind})
    if expected:
        assert code(token) == expected
    else:
        assert tokens.read(token, issuer())


def test_required_type_is_required():
    given = issuer(TYPES=["at+jwt"])
    assert code(sign(), given) == "token_type_not_accepted"
    assert code(sign(header={"typ": None}), given) == "token_type_not_accepted"
    assert code(sign(header={"typ": 1}), given) == "token_type_not_accepted"
    assert tokens.read(sign(header={"typ": "AT+JWT"}), given)


def test_unsigned_token_is_refused():
    header, payload, signature = sign().split(".")
    assert code(f"{header}.{payload}.") == "algorithm_not_accepted"
    for name in ("none", "None", "NONE", "", None, 1, ["RS256"]):
        unsigned = encoded(json.dumps({"alg": name, "kid": "rsa"}))
        assert code(f"{unsigned}.{payload}.{signature}") == "algorithm_not_accepted"


HS256 = encoded('{"alg": "HS256", "kid": "rsa"}')


@pytest.mark.parametrize("form", ["pem", "der"])
def test_public_key_as_a_shared_secret_is_refused(form):
    key = KEYS["RS256"]
    secret = key.as_pem(private=False) if form == "pem" else key.as_der(private=False)
    signed = f"{HS256}.{encoded(json.dumps(provider.claims()))}"
    signature = hmac.digest(secret, signed.encode(), "sha256")
    assert code(f"{signed}.{encoded(signature)}", issuer()) == "algorithm_not_accepted"


def test_algorithm_is_pinned_to_the_key():
    # A key of RSA that says PS256 verifies nothing else, and no key of EC verifies RS256.
    pinned = RSAKey.import_key({**KEYS["RS256"].as_dict(), "alg": "PS256"})
    given = issuer(JWKS=provider.jwks(pinned, KEYS["ES256"]))
    assert tokens.read(sign("PS256", key=KEYS["RS256"]), given)
    assert code(sign("RS256"), given) == "unknown_signing_key"
    assert code(sign("RS256", header={"kid": "ec"}), given) == "unknown_signing_key"


def test_algorithm_outside_the_entry_is_refused():
    assert code(sign("ES256"), issuer(ALGORITHMS=["RS256"])) == "algorithm_not_accepted"


def test_key_of_another_issuer_is_unknown():
    other = RSAKey.generate_key(2048, {"kid": "rsa"})
    assert code(sign(key=other), issuer()) == "invalid_token_signature"
    assert code(sign(header={"kid": "new"}), issuer()) == "unknown_signing_key"
    assert code(sign(header={"kid": ["rsa"]}), issuer()) == "malformed_token"


def test_key_needs_no_name_if_only_one_fits():
    assert tokens.read(sign(header={"kid": None}), issuer())
    two = issuer(JWKS=provider.jwks(KEYS["RS256"], RSAKey.generate_key(2048, {"kid": "other"})))
    assert code(sign(header={"kid": None}), two) == "unknown_signing_key"


def test_changed_claim_is_refused():
    header, payload, signature = sign().split(".")
    changed = encoded(json.dumps(provider.claims(sub="root")))
    assert code(f"{header}.{changed}.{signature}", issuer()) == "invalid_token_signature"
    assert code(f"{header}.{payload}.{signature[:-4]}AAAA"[:-4] + "AAAB", issuer()) in (
        "invalid_token_signature",
        "malformed_token",
    )


@pytest.mark.parametrize(
    "text",
    [
        f'{{"iss": "{URL}", "sub": "u-1", "sub": "root"}}',
        f'{{"iss": "{URL}", "a": {{"b": 1, "b": 2}}}}',
    ],
)
def test_duplicate_claim_is_refused(text):
    assert code(sign(payload=text)) == "duplicate_claim"


def test_duplicate_header_parameter_is_refused():
    _, payload, signature = sign().split(".")
    header = encoded('{"alg": "RS256", "kid": "rsa", "alg": "none"}')
    assert code(f"{header}.{payload}.{signature}") == "duplicate_claim"


def test_token_over_16_kib_is_refused():
    assert code(sign(pad="x" * 16_384)) == "token_too_large"
    with pytest.raises(Refused, match="token_too_large"):
        tokens.claimed_issuer(sign(pad="x" * 16_384))


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_deeply_nested_token_is_refused(opening):
    text = f'{{"iss": "{URL}", "a": {opening * 2000}'
    assert code(sign(payload=text)) == "token_too_deep"
    with pytest.raises(Refused, match="token_too_deep"):
        tokens.claimed_issuer(sign(payload=text))


def test_brackets_in_strings_are_not_nested():
    assert tokens.read(sign(note='[{"' * 50, other=[[1]] * 20), issuer())


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c.d",
        "é.é.é",
        encoded("[]") + ".e30.AAAA",
        "e30." + encoded('{"exp": NaN}') + ".AAAA",
        "e30." + encoded(b"\xff") + ".AAAA",
        "e30=.e30=.AAAA",
        "e3 0.e30.AAAA",
        "e31.e30.AAAA",
        "e30.e30.A",
        "e30." + encoded('{"a": ' + "1" * 5000 + "}") + ".AAAA",
    ],
)
def test_malformed_token_is_refused(token):
    assert code(token) == "malformed_token"


def test_nested_quotes_take_linear_time():
    text = encoded(b"{" + b"[" * 13 + b'"' + b'\\"' * 5000)
    started = time.process_time()
    assert tokens.issuer_of(f"eyJh.{text}.x") is None
    assert time.process_time() - started < 0.1


PINNED = issuer()
SEGMENT = st.one_of(
    st.binary(max_size=200).map(encoded),
    st.text(max_size=40),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=8,
    ).map(lambda value: encoded(json.dumps(value))),
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(max_size=300), st.lists(SEGMENT, max_size=4).map(".".join)))
def test_random_text_is_refused_without_an_error(text):
    tokens.issuer_of(text)
    assert code(text, PINNED)


NAMES = ["iss", "sub", "aud", "exp", "nbf", "iat", "client_id"]
VALUES = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
    *(st.lists(st.text(max_size=3), max_size=2), st.just(URL), st.just(AUDIENCE)),
    st.just({"a": {"b": []}}),
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES), st.booleans())
def test_random_claims_never_pass_without_a_signature(changes, is_signed):
    payload = json.dumps({**provider.claims(), **changes})
    token = sign("ES256", payload=payload)
    if not is_signed:
        header, body, _ = token.split(".")
        assert code(f"{header}.{body}.{encoded(b'0' * 64)}", PINNED)
        return
    with suppress(Refused):
        read = tokens.read(token, PINNED)
        assert (read["iss"], read["exp"] > time.time() - 31) == (URL, True)
