"""The command on real machines: a token in the environment, several accounts, a text browser."""

import json
import os
import stat
import subprocess
import sys
import threading

import pytest

from apikeys.cli import LoginError, Session, Site
from tests.documents import ROOT
from tests.oauth.test_cli_failures import FakeSite, answer, oauth_error

pytestmark = pytest.mark.process

SCRIPT = """#!{python}
import sys, urllib.request
from urllib.parse import parse_qs, urlsplit
asked = {{k: v[0] for k, v in parse_qs(urlsplit(sys.argv[1]).query).items()}}
if {completes}:
    urllib.request.urlopen(f"{{asked['redirect_uri']}}?code=c&state={{asked['state']}}").read()
print("The text browser had the terminal.")
"""


@pytest.fixture
def site():
    with FakeSite() as site:
        threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
        yield site
        site.shutdown()


@pytest.fixture
def run(site, tmp_path):
    """Run the command in a process without a display."""

    def run(*arguments, code=0, client="cli", **variables):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        env = {
            "HOME": str(tmp_path),
            "XDG_DATA_HOME": str(tmp_path / "data"),
            "PATH": f"{folder}:/usr/bin:/bin",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "PYTHONPATH": str(ROOT),
            "APIKEYS_SERVER": site.url,
            **({"APIKEYS_CLIENT_ID": client} if client else {}),
            **variables,
        }
        command = [sys.executable, "-m", "apikeys.cli", *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def install(tmp_path):
    """Install a text browser that logs in, or is quit before."""

    def install(name, completes=True):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(SCRIPT.format(python=sys.executable, completes=completes))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return install


# A token in the environment


def test_token_from_the_environment_replaces_a_login(site, run):
    done = run("whoami", "--json", client=None, APIKEYS_TOKEN="acme_pat_x")
    assert json.loads(done.stdout)["user"] == "ada"
    assert [path for path, _ in site.asked] == ["/api/token/"]
    assert run("token", APIKEYS_TOKEN=" acme_pat_x\n").stdout == "acme_pat_x\n"


def test_nothing_is_stored_for_a_token_from_the_environment(run, tmp_path):
    run("whoami", APIKEYS_TOKEN="acme_pat_x")
    assert not (tmp_path / "data").exists()


def test_refused_token_from_the_environment_is_reported(site, run):
    site.answers["/api/token/"] = [oauth_error("invalid_token", 401)]
    done = run("whoami", APIKEYS_TOKEN="acme_pat_x", code=1)
    assert done.stderr == f"Error: {site.url} refused the token in APIKEYS_TOKEN.\n"
    assert len(site.asked) == 1


@pytest.mark.parametrize("text", ["two words", "a\nb", "ü"])
def test_text_that_is_no_token_is_not_sent(site, run, text):
    done = run("whoami", APIKEYS_TOKEN=text, code=1)
    assert done.stderr == "Error: The value of APIKEYS_TOKEN is not a token.\n"
    assert site.asked == []


@pytest.mark.parametrize("command", [["login"], ["login", "--device"], ["logout"]])
def test_login_and_logout_say_that_the_variable_is_set(site, run, command):
    done = run(*command, APIKEYS_TOKEN="acme_pat_x", code=1)
    assert "APIKEYS_TOKEN is set" in done.stderr
    assert site.asked == []


def test_token_goes_to_no_other_site(site, run):
    done = run("api", "GET", "https://evil.example/", APIKEYS_TOKEN="acme_pat_x", code=1)
    assert "so the token is not sent there" in done.stderr


def test_without_a_token_the_client_id_is_required(run):
    assert "Missing option '--client-id'" in run("whoami", client=None, code=2).stderr


# Several accounts


def test_each_profile_has_its_own_login(site, tmp_path):
    def session(profile=""):
        return Session(Site(site.url, "cli"), folder=tmp_path, profile=profile)

    for profile in ("", "work"):
        session(profile).log_in(lambda url: answer(url, code="c"), browse=None)
    assert (session().token(), session("work").token()) == ("a1", "a2")
    session("work").log_out()
    assert session().token() == "a1"
    with pytest.raises(LoginError, match="not logged in"):
        session("work").token()


def test_profile_is_an_option_or_a_variable(run):
    run("--profile", "work", "login", "--text-browser", code=1)  # no browser is installed
    for options, variables in ((["--profile", "work"], {}), ([], {"APIKEYS_PROFILE": "work"})):
        assert "not logged in" in run(*options, "token", code=1, **variables).stderr


# A text browser, and no display


@pytest.mark.parametrize("name", ["w3m", "lynx"])
def test_login_with_a_text_browser_in_the_terminal(run, install, name):
    install(name)
    done = run("login", "--text-browser")
    assert "The text browser had the terminal." in done.stdout
    assert "You are logged in as ada." in done.stderr
    assert run("token").stdout == "a1\n"


def test_browser_of_the_environment_comes_first(run, install, tmp_path):
    install("lynx", completes=False)
    path = install("elinks")
    run("login", "--text-browser", BROWSER=f"{path} %s")


def test_login_ends_when_the_text_browser_is_quit(run, install):
    install("w3m", completes=False)
    done = run("login", "--text-browser", code=1)
    assert "The login in the browser was not completed." in done.stderr


def test_without_a_text_browser_the_command_says_what_to_do(run):
    done = run("login", "--text-browser", code=1, PATH=os.devnull)
    assert done.stderr.endswith(
        "Error: No text browser was found. Install one, such as w3m, or try --device.\n"
    )


def test_only_one_way_to_log_in_is_chosen(run):
    assert "only one of" in run("login", "--device", "--text-browser", code=2).stderr


def test_a_device_login_needs_no_display(run):
    done = run("login", "--device")
    assert "enter this code" in done.stderr
    assert "You are logged in as ada." in done.stderr
