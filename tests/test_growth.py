"""Twice as much untrusted input takes at most three times as long.

The tests measure CPU time, the minimum of three, or of seven where three say otherwise. Inputs
grow until one takes 10 ms, so that a bound on the length counts as well: with it, no input takes
that long.
"""

import ast
import gc
import importlib
import pkgutil
import random
import re
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from re import _parser as parser
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import RequestFactory
from django.utils.datastructures import MultiValueDict
from oauthlib.oauth2.rfc6749.errors import OAuth2Error
from rest_framework.exceptions import APIException

import apikeys
from apikeys import audit, error_reports, redaction, scopes, token
from apikeys.api.idempotency import once
from apikeys.api.parsers import JSONParser
from apikeys.gateway import paths, proxy
from apikeys.gateway.models import validate_identifier
from apikeys.http import header
from apikeys.importing import csv_rows
from apikeys.legacy import schemes, texts
from apikeys.lifecycle import LifecycleError, mint
from apikeys.limits import networks, rates
from apikeys.management import arguments
from apikeys.models import naming
from apikeys.oauth import consent, key_clients, password_attempts, registration, targets
from apikeys.oauth.validators import Validator
from apikeys.oauth.views.device import UserCodeForm
from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.signatures import public_keys, verification
from tests.factories import UserFactory

pytestmark = pytest.mark.slow

LEAST, MOST = 0.01, 4_000_000  # seconds; characters
REFUSALS = (
    *(Refused, LifecycleError, APIException, ValidationError, OAuth2Error),
    *(registration.RegistrationError, ValueError, RecursionError),
)


def seconds(function: Any, given: Any, times: int) -> float:
    """CPU time of this thread for one call, the least of ``times``."""
    found = []
    gc.disable()
    try:
        for _ in range(times):
            start = time.thread_time()
            with suppress(*REFUSALS):
                function(given)
            found.append(time.thread_time() - start)
    finally:
        gc.enable()
    return min(found)


def assert_linear(function: Any, build: Any) -> None:
    """``build`` makes an input of about so many characters."""
    size = 2_000
    while seconds(function, build(size), 1) < LEAST:
        size *= 2
        if size > MOST:
            return  # its length is bounded
    # A busy machine may mislead a measurement of milliseconds. A longer one shows more clearly
    # that the growth is not linear.
    for times, longer in ((3, 1), (7, 1), (7, 4)):
        size *= longer
        small = seconds(function, build(size), times)
        large = seconds(function, build(2 * size), times)
        if large <= 3 * max(small, LEAST / 2):
            return
    raise AssertionError(f"{size}: {small:.3f} s, twice: {large:.3f} s")


def repeated(unit: str, before: str = "", after: str = "") -> Any:
    return lambda size: before + unit * (size // len(unit)) + after


# Every function that reads what a stranger wrote


def request(**meta: str) -> Any:
    return RequestFactory().get("/", **meta)


def with_header(name: str, read: Any) -> Any:
    return lambda text: read(request(**{name: text}))


def behind_proxies(text: str) -> Any:
    return networks._behind_proxies(networks.parse_address("127.0.0.1"), "127.0.0.1", text)


def parse_json(text: str) -> Any:
    import io

    return JSONParser().parse(io.BytesIO(text.encode()))


def user_code(text: str) -> Any:
    form = UserCodeForm({"user_code": text}, user=SimpleNamespace(pk=1))
    form.cleaned_data = {"user_code": text}
    return form.clean_user_code()


def load_client(text: str) -> Any:
    """With client ID metadata documents: the ID is a URL."""
    request = SimpleNamespace(client=None, headers={})
    return Validator()._load_application("https://" + text, request)


def headers_of_proxy(text: str) -> Any:
    pairs = tuple((b"x-a", part.encode("latin-1")) for part in text.split(","))
    scope = {"headers": pairs}
    proxy._check(scope)
    return proxy._headers(scope)


def as_csv(text: str) -> Any:
    event = audit.AuditEvent(event="minted", owner=text, name=text, public_id="a", changes={})
    return "".join(audit.as_csv([event]))


def log(text: str) -> Any:
    import logging

    record = logging.makeLogRecord({"msg": "%s", "args": (text,), "extra_field": {text: [text]}})
    return error_reports.RedactKeys().filter(record)


KEY = "a_key_" + "0" * 16 + "_"
REDACTED = [
    *("token=", "token:", "token ", "token='", "token = ", "token===", "token=a.", 'token""'),
    *("Token: a", "x-api-key=", "basic=", "basic ", "bearer ", "bearer=", "bearer:bearer "),
    *("bearer:a-", "bearer aaaaaaaaaaaaaaaa[", "a_pat_", KEY, "A", "a", "0", "_", "A" * 42 + "_"),
    *("token=\u0660", "=", " ", "'", "-", ":", "api-key-", "aaaaaaaaaaaaaaaa-token=", "bearer -"),
]
HEADERS = ["a", "=", " ", "a=", "a.", "-", ",", "\u00e9", "%", ":", "A=", "a ", "\t"]
WORDS = [*HEADERS, "a:write ", "/", "1", "1 per ", "1/", ":", "::", "0", "9 ", "%C3%A9", "%", "//"]
TEXTS = [*WORDS, "\u0301\u0316", "\u202e", "\u3164", "\u200b", "\ufdfa", "\ud800", "\r", '"', "\n"]

FUNCTIONS = {
    "redact": (lambda t: redaction.redact(t, 10**9), REDACTED),
    "redact_strictly": (lambda t: redaction.redact_strictly(t, 10**9), REDACTED),
    "redact, bounded": (redaction.redact, REDACTED[:4]),
    "redact_value": (lambda t: redaction.redact_value({"a": [t, (t,)], t: {t: t}}), REDACTED[:4]),
    "log": (log, REDACTED[:4]),
    "before_send": (lambda t: error_reports.before_send({"a": [t], t: t}), REDACTED[:4]),
    "holds_key": (token.holds_key, REDACTED),
    "holds_secret": (token.holds_secret, REDACTED),
    "token.parse": (lambda t: token.parse(t, "acme"), REDACTED),
    "token.parse, a key": (lambda t: token.parse("acme_pat_" + t, "acme"), REDACTED),
    "read_credential": (with_header("HTTP_AUTHORIZATION", header.read_credential), HEADERS),
    "read_credential, Bearer": (
        lambda t: header.read_credential(request(HTTP_AUTHORIZATION="Bearer " + t)),
        HEADERS,
    ),
    "read_credential, Basic": (
        lambda t: header._read_user_name("Basic " + t),
        HEADERS,
    ),
    "client": (lambda t: key_clients.presented({"HTTP_AUTHORIZATION": "basic " + t}, {}), HEADERS),
    "schemes.is_text": (schemes.is_text, HEADERS),
    "texts.is_weak": (texts.is_weak, TEXTS[:-6]),
    "paths.parse": (lambda t: paths.parse("/" + t), WORDS),
    "paths.parse, a query": (lambda t: paths.parse("/?" + t), WORDS),
    "paths.decode": (paths.decode, WORDS),
    "paths.encode": (paths.encode, TEXTS),
    "paths.Template": (lambda t: paths.Template("/" + t), WORDS),
    "identifier": (validate_identifier, TEXTS),
    "proxy": (headers_of_proxy, HEADERS),
    "scopes.expand": (scopes._expand, WORDS),
    "scopes.narrow": (lambda t: scopes.narrow(t, "payments:read " + t), WORDS[:4]),
    "rates.parse": (rates.parse, TEXTS),
    "parse_address": (networks.parse_address.__wrapped__, TEXTS),
    "parse_network": (networks.parse_network, TEXTS),
    "client_ip": (behind_proxies, ["127.0.0.1,", ",", "127.0.0.1 ", "a", "[::1]:1,", "1.", "::"]),
    "name": (naming.is_readable, TEXTS),
    "canonical user name": (password_attempts.canonical, TEXTS),
    "CSV": (as_csv, TEXTS),
    "rows of CSV": (
        lambda t: list(csv_rows.rows(t.splitlines(True), ("a", "b"), ({"a"},))),
        ["a,", '"', "a\n", '"\n', ",", "\r", "\r\n", "a"],
    ),
    "rows of CSV, a body": (
        lambda t: list(csv_rows.rows(("a,b\n" + t).splitlines(True), ("a", "b"), ({"a"},))),
        ["a,", '"', "a\n", '"\n', ",", "\r", "\r\n", "a", "a,a\n"],
    ),
    "JSON": (parse_json, ["[", '{"a":', "1", "[1,", '"', "\\ud800", " "]),
    "Signature-Input": (
        lambda t: verification._dictionary({"Signature-Input": t}, "Signature-Input"),
        ["a=", "(", '"', "a=1,", 's=("a" ', ";a", " ", ":", '"a" ', "a"],
    ),
    "public key": (
        public_keys.parse,
        ["-", "A", "-----BEGIN PUBLIC KEY-----\n", "PRIVATE KE", "\n"],
    ),
    "redirect URI": (registration.is_redirect_uri, [*WORDS, "https://", "http://127.0.0.1/"]),
    "redirect URI, a host": (lambda t: registration.is_redirect_uri("https://" + t), TEXTS),
    "target": (lambda t: targets.check([t]), [*WORDS, "https://a/", "https://["]),
    "target, a host": (lambda t: targets.check(["https://" + t]), TEXTS),
    "targets": (lambda t: targets.check(t.split()), ["https://a/ "]),
    "client ID": (load_client, TEXTS),
    "user code": (user_code, TEXTS),
    "duration": (lambda t: arguments.duration(t, "keep"), WORDS),
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_linear_time(name, settings):
    settings.APIKEYS = settings.APIKEYS | {
        "BASIC_AUTH": True,
        "TRUSTED_PROXIES": ["127.0.0.1", "::1"],
    }
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {"CIMD_ENABLED": True}
    function, units = FUNCTIONS[name]
    worst = max(units, key=lambda unit: seconds(function, repeated(unit)(30_000), 1))
    assert seconds(function, repeated(worst)(30_000), 3) < 1, worst
    for unit in {worst, units[0]}:
        assert_linear(function, repeated(unit))
        assert_linear(function, repeated(unit, after="\x00"))


class NeedsApproval(Policy):
    def needs_approval(self, owner: Any, scope: str) -> bool:
        return True


def test_scopes_that_a_client_repeats_take_linear_time(settings, db):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": NeedsApproval}
    user = UserFactory()
    for read in (consent.allowed, consent.told):
        assert_linear(lambda t, read=read: read(t.split(), user, "x"), repeated("payments:write "))


@pytest.mark.parametrize("field", ["name", "scopes", "allowed_networks", "rate_limits"])
@pytest.mark.parametrize("unit", ["token=", "1 per ", "10.0.0.1/32 ", "\u0301\u0316"])
def test_what_a_key_may_have_takes_linear_time(field, unit, db):
    user = UserFactory()

    def ask(text):
        given = {"name": "a", "scopes": ["payments:read"]}
        given[field] = text if field == "name" else text.split()
        return mint(user=user, **given)

    for build in (repeated(unit), repeated(unit.strip())):
        # Nothing is created: the last character is none that any field takes.
        assert_linear(ask, lambda size, build=build: build(size) + "\x00")


def test_the_name_of_an_idempotent_request_takes_linear_time():
    def ask(text):
        return once(SimpleNamespace(headers={"Idempotency-Key": text}), "", lambda: None)

    assert_linear(ask, repeated("a", after="\x00"))


def test_fields_of_a_form_take_linear_time():
    from apikeys.oauth.views.token import _is_readable

    def read(text):
        form = MultiValueDict({"a": text.split(","), text: [text]})
        return _is_readable(SimpleNamespace(META={"QUERY_STRING": text}, GET=form, POST=form))

    for unit in ("%", "%0", "a,", "a"):
        assert_linear(read, repeated(unit))


# Every pattern, in the way that it is used

ROOT = Path(apikeys.__file__).parent
SOURCES = {path: path.read_text("utf-8") for path in sorted(ROOT.rglob("*.py"))}
METHODS = {
    **dict.fromkeys(("sub", "split", "findall", "finditer", "search"), "search"),
    "match": "match",
    "fullmatch": "fullmatch",
}


def inline_patterns() -> dict[str, tuple[re.Pattern[Any], set[str]]]:
    """The literal patterns of calls such as ``re.fullmatch(…)``, and of fields and validators."""
    found = {}
    for path, source in SOURCES.items():
        if not re.search(rf"\bre\.(?:{'|'.join(METHODS)})\(|\bRegex", source):
            continue
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            module, _, function = ast.unparse(node.func).rpartition(".")
            is_call = (module == "re" and function in METHODS) or function.startswith("Regex")
            if is_call and isinstance(node.args[0], ast.Constant):
                pattern = re.compile(node.args[0].value)
                name = f"{path.relative_to(ROOT)}: {pattern.pattern}"
                found[name] = pattern, {METHODS.get(function, "search")}
    return found


def compiled_patterns() -> dict[str, tuple[re.Pattern[Any], set[str]]]:
    found = {}
    used = defaultdict(set)
    for name, call in re.findall(rf"\b(\w+)\.({'|'.join(METHODS)})\b", "\n".join(SOURCES.values())):
        used[name].add(METHODS[call])
    for info in pkgutil.walk_packages(apikeys.__path__, "apikeys."):
        if ".migrations" in info.name or info.name.endswith(("pytest", "__main__")):
            continue
        for name, value in vars(importlib.import_module(info.name)).items():
            if isinstance(value, re.Pattern):
                found[f"{info.name}.{name}"] = value, used[name]
    return found


def example(parsed: Any, chance: random.Random) -> list[str]:
    """A text that fits a pattern, as the pieces that its parts take."""
    pieces: list[str] = []
    for operation, argument in parsed:
        match str(operation), argument:
            case "LITERAL", _:
                pieces.append(chr(argument))
            case (("NOT_LITERAL" | "ANY"), _):
                pieces.append("a")
            case "IN", _:
                pieces.append(member(argument, chance))
            case "BRANCH", (_, branches):
                pieces += example(chance.choice(branches), chance)
            case (("MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT"), (least, most, part)):
                for _ in range(chance.randint(least, max(least, min(most, least + 2)))):
                    pieces += example(part, chance)
            case (("SUBPATTERN" | "ATOMIC_GROUP"), _):
                part = argument[-1] if isinstance(argument, tuple) else argument
                pieces += example(part, chance)
    return pieces


def member(options: Any, chance: random.Random) -> str:
    if str(options[0][0]) == "NEGATE":
        return "a"
    operation, argument = chance.choice(options)
    match str(operation):
        case "LITERAL":
            return chr(argument)
        case "RANGE":
            return chr(chance.choice(argument))
    return chance.choice({"CATEGORY_SPACE": " \t", "CATEGORY_DIGIT": "09"}.get(str(argument), "a0"))


def worst_inputs(source: str, flags: int, chance: random.Random) -> Any:
    """Texts that fit, with one piece repeated, and something at the end that does not fit."""
    parsed = parser.parse(source, flags & ~re.ASCII)
    for _ in range(20):
        pieces = example(parsed, chance) or [""]
        for _ in range(6):
            at = chance.randrange(len(pieces))
            unit = "".join(pieces[at : at + chance.choice((1, 1, 2, len(pieces)))]) or "a"
            after = "".join(pieces[at:]) * chance.randint(0, 1) + chance.choice(("", "\x00", "#"))
            yield repeated(unit, "".join(pieces[:at]), after)
        for other in " a0=:":
            yield repeated(other, "".join(pieces[:at]), "\x00")


PATTERNS = compiled_patterns() | inline_patterns()


def test_every_module_is_looked_at():
    assert {"apikeys.redaction._BEARER", "apikeys.gateway.paths._SEGMENT"} <= set(PATTERNS)
    assert len(PATTERNS) > 40
    assert all(methods for _, methods in PATTERNS.values())


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_take_linear_time(name):
    pattern, methods = PATTERNS[name]
    is_text = isinstance(pattern.pattern, str)
    source = pattern.pattern if is_text else pattern.pattern.decode("latin-1")
    for build in worst_inputs(source, pattern.flags, random.Random(name)):
        if not is_text:
            build = lambda size, text=build: text(size).encode("latin-1", "replace")  # noqa: E731
        for method in (getattr(pattern, each) for each in sorted(methods)):
            for size in (500, 4_000, 20_000):  # what is cubic never ends at the last
                assert seconds(method, build(size), 1) < 0.5, build(60)
            if seconds(method, build(20_000), 1) > LEAST:
                assert_linear(method, build)
