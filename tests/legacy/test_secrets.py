"""No imported key appears in a log, an error page, a report or a list of processes."""

import logging

import pytest
from django.db import connection
from django.test import RequestFactory

from apikeys import error_reports
from apikeys.legacy import verify as legacy
from apikeys.redaction import redact
from tests.legacy.conftest import TOMORROW, api_key, authtoken_of, knox_of

SCOPE = ["--scope", "payments:read"]
TEXT = "sk-live-8f14e45fceea167a5a36dedd4bea2543"


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Token {}", "authorization: token {}", "Authorization: Api-Key {}",
        "X-Api-Key: {}", "{{'X-Api-Key': '{}'}}", "Basic {}", "token={}",
    ],
)  # fmt: skip
def test_a_key_after_its_header_is_redacted(text):
    assert redact(text.format(TEXT)) == text.format("[redacted]")


def test_other_words_are_not_redacted():
    for text in ("the token authentication-backend", "a basic understanding-of-things", "token: 5"):
        assert redact(text) == text


@pytest.mark.django_db
@pytest.mark.parametrize("scheme", ["authtoken", "knox", "drf-api-key"])
def test_no_key_is_logged(apikeys, ada, project, takes, get, caplog, scheme, settings):
    settings.ROOT_URLCONF = "tests.legacy.conftest"
    takes(**{scheme.replace("-", "_"): TOMORROW})
    make = {"authtoken": authtoken_of, "knox": knox_of, "drf-api-key": lambda _: api_key()}[scheme]
    text = make(ada)
    words = ["--project", "shop"] if scheme == "drf-api-key" else []
    keyword = "Api-Key" if scheme == "drf-api-key" else "Token"
    caplog.clear()
    caplog.set_level(logging.DEBUG, logger="django.db.backends")
    connection.force_debug_cursor = True
    try:
        done = apikeys("import", "--from", scheme, *words, *SCOPE, "--json")
        assert get({"Authorization": f"{keyword} {text}"})[0] == 200
        assert get({"Authorization": f"{keyword} {text}0"})[0] == 401
        assert get({"Authorization": f"{keyword} {text}"})[0] == 200
    finally:
        connection.force_debug_cursor = False
    secret = text.partition(".")[2] or text
    assert "apikeys_legacykey" in caplog.text
    for shown in (caplog.text, done.out, done.err):
        assert secret not in shown
        assert secret[:15] not in shown


@pytest.mark.django_db
@pytest.mark.parametrize("debug_on", [True, False])
@pytest.mark.parametrize("text", [TEXT, "def"])
def test_error_pages_do_not_show_the_key(takes, monkeypatch, settings, debug_on, text):
    settings.DEBUG = debug_on
    takes(csv={"UNTIL": TOMORROW, "HEADER": "X-Customer"})
    monkeypatch.setattr(legacy.texts, "is_weak", abs)  # raises an error during the verification
    request = RequestFactory().get("/", headers={"X-Customer": text})
    with pytest.raises(TypeError) as caught:
        legacy.authenticate(request)
    frames = caught.tb.tb_next  # without the frame of this function
    reporter = error_reports.ExceptionReporter(request, TypeError, caught.value, frames)
    reporter.filter = error_reports.SafeExceptionReporterFilter()
    for shown in (reporter.get_traceback_html(), reporter.get_traceback_text()):
        assert "bad operand" in shown
        assert f"&#x27;{text}&#x27;" not in shown
        assert f"'{text}'" not in shown


def test_sentry_gets_no_legacy_header(takes):
    takes(csv={"UNTIL": TOMORROW, "HEADER": "X-Customer"})
    event = {"request": {"headers": {"X-Customer": "def", "Accept": "*/*"}}}
    assert error_reports.before_send(event)["request"]["headers"] == {
        "X-Customer": "[redacted]", "Accept": "*/*",
    }  # fmt: skip


def test_the_repr_of_a_candidate_omits_the_key():
    from apikeys.importing.sources import Candidate

    assert TEXT not in repr(Candidate("line 2", text=TEXT, hash=f"sha512${TEXT}", prefix=TEXT))


class TestCsv:
    @pytest.mark.django_db
    @pytest.mark.parametrize(
        "lines",
        [
            f"{TEXT},ada", f"key\n{TEXT}\n", f"key,user,secret\n{TEXT},ada,x\n",
            f"key,key,user\n{TEXT},{TEXT},ada\n",
        ],
    )  # fmt: skip
    def test_a_file_without_a_header_is_not_repeated(self, apikeys, lines):
        done = apikeys("import", "--from", "csv", "-", *SCOPE, "--json", stdin=lines)
        assert (done.code, done.json["code"]) == (1, "invalid_csv")
        assert "key or hash" in done.err
        assert TEXT[:12] not in done.out + done.err

    @pytest.mark.django_db
    def test_invalid_lines_are_reported_by_number(self, apikeys, ada):
        lines = [
            "key,hash,user,project,name,scopes,expires",
            f"{TEXT},,ada,,server,,",
            f"{TEXT}2,,nobody,,server,,",
            f"{TEXT}3,,,nowhere,server,,",
            f"{TEXT}4,,,,server,,",
            ",,ada,,server,,",
            f"{TEXT}5,,ada,,server,payments:reed,",
            f"{TEXT}6,,ada,,server,,soon",
            f"{TEXT}7,,ada",
            f"{TEXT}8 9,,ada,,server,,",
            f"{TEXT}9,,ada,,server,,2020-01-01",
            ",md5$abc,ada,,server,,",
            ",pbkdf2_sha256$1$a$b,ada,,server,,",
            f"{TEXT},,ada,,again,,",
            f"{TEXT}10,,ada,analytical-engine,restricted,reports:read,2100-01-01",
            f"acme_key_{TEXT},,ada,,server,,",
            f"{TEXT}11,,ada,,server,,9999-12-31T23:59:59-12:00",
            f"name,,{TEXT},,swapped,,",
            f"name,,,{TEXT},swapped,,",
            f"name-of-it,,ada,,swapped,{TEXT},",
            f"{TEXT}12,,ada,,never,,9999-12-31",
        ]
        done = apikeys("import", "--from", "csv", "-", *SCOPE, "--json", stdin="\n".join(lines))
        told = {each["where"]: each["outcome"] for each in done.json["keys"]}
        assert told == {
            "line 2": "imported", "line 3": "unknown_user", "line 4": "unknown_project",
            "line 5": "invalid_line", "line 6": "invalid_line", "line 7": "unknown_scope",
            "line 8": "invalid_line", "line 9": "invalid_line", "line 10": "unusable_text",
            "line 11": "expired", "line 12": "unsupported_hash", "line 13": "unsupported_hash",
            "line 14": "duplicate", "line 15": "imported", "line 16": "unusable_text",
            "line 17": "invalid_line", "line 18": "unknown_user", "line 19": "unknown_project",
            "line 20": "unknown_scope", "line 21": "imported",
        }  # fmt: skip
        assert done.code == 1
        assert "Correct them and repeat" in done.err
        assert TEXT not in done.out + done.err
        restricted, plain, never = (
            apikeys("show", each["id"], "--json").json
            for each in sorted(done.json["keys"], key=lambda each: each["where"])
            if each["outcome"] == "imported"
        )
        assert (restricted["projects"], restricted["scopes"]) == (
            ["analytical-engine"],
            ["reports:read"],
        )
        assert restricted["expires_at"].startswith("2100-01-01")
        assert (plain["projects"], plain["scopes"]) == (None, ["payments:read"])
        assert plain["legacy"] == "csv"
        assert never["expires_at"] is None
