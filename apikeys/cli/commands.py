"""The commands: log in, show the user, call the API, log out."""

import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

import click
import httpx

from .auth import BearerAuth
from .browser import graphical_browser, open_in_terminal
from .browser import text_browser as find_text_browser
from .client import json_object, printable
from .errors import LoginError
from .failing import exits_with_a_line
from .key_commands import key
from .session import Given, Session, Site, make_http
from .workload import Workload

_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


class App:
    """Build a site's command. Users must give omitted values as an option or variable.

    ``App("acme", server="https://api.acme.example", client_id="acme-cli").group()`` returns a
    ``click.Group``: call it, or add commands to it.
    """

    def __init__(
        self,
        name: str,
        *,
        server: str | None = None,
        client_id: str | None = None,
        scopes: Sequence[str] = (),
    ) -> None:
        self.name = name
        self._server = server
        self._client_id = client_id
        self._scopes = scopes

    def group(self) -> click.Group:
        """Return a new ``click.Group`` with all commands."""
        prefix = self.name.upper().replace("-", "_")

        @click.group(name=self.name, context_settings={"help_option_names": ["-h", "--help"]})
        @click.option(
            "--server",
            default=self._server,
            required=self._server is None,
            show_default=True,
            envvar=f"{prefix}_SERVER",
            help="The URL of the site, such as https://api.example.com.",
        )
        @click.option(
            "--client-id",
            default=self._client_id,
            show_default=True,
            envvar=f"{prefix}_CLIENT_ID",
            help="The OAuth client ID of this command.",
        )
        @click.option(
            "--profile",
            default="",
            envvar=f"{prefix}_PROFILE",
            help="Use another account. Each profile has its own login.",
        )
        @click.pass_context
        @exits_with_a_line
        def group(context: click.Context, server: str, client_id: str | None, profile: str) -> None:
            given = _given(f"{prefix}_TOKEN")
            # Only a workload needs no client.
            if client_id is None and given is None and context.invoked_subcommand != "token":
                raise click.MissingParameter(param_hint="'--client-id'", param_type="option")
            site = Site(server, client_id or "", self._scopes, self.name)
            context.obj = Session(site, profile=profile, given=given)
            context.call_on_close(context.obj.close)

        group.epilog = f"The environment variable {prefix}_TOKEN replaces a login."

        group.help = f"Log in to {self._server or 'a site'} and call its API."
        for command in (login, whoami, token, api, key, logout):
            group.add_command(command)
        return group

    def __call__(self) -> None:
        self.group()()


def _given(source: str) -> Given | None:
    # No option: other users of the machine can see the arguments of a command.
    text = os.environ.get(source, "").strip()
    return Given(text, source) if text else None


@click.command()
@click.option("--device", is_flag=True, help="Log in with a browser on another device.")
@click.option("--no-browser", is_flag=True, help="Print the URL instead of opening it.")
@click.option("--text-browser", is_flag=True, help="Log in with a text browser in this terminal.")
@click.option("--scope", "scopes", multiple=True, help="Request this scope. Repeat for several.")
@click.option(
    "--client",
    "as_client",
    is_flag=True,
    help="Register a client of this machine, which then needs no browser.",
)
@click.pass_obj
@exits_with_a_line
def login(
    session: Session,
    device: bool,
    no_browser: bool,
    text_browser: bool,
    scopes: Sequence[str],
    as_client: bool,
) -> None:
    """Log in with a browser."""
    if device + no_browser + text_browser > 1:
        raise click.UsageError("Give only one of --device, --no-browser and --text-browser.")
    names = [name for words in scopes for name in words.split()]
    if device:
        session.log_in_by_device(_show_code, scopes=names, as_client=as_client)
    elif text_browser:
        session.log_in(_show_quit, scopes=names, browse=open_in_terminal, as_client=as_client)
    elif no_browser:
        session.log_in(_show_url, scopes=names, browse=None, as_client=as_client)
    else:
        session.log_in(_show_url, scopes=names, as_client=as_client)
    try:
        facts = _facts(session)
    except LoginError as error:
        raise LoginError(
            f"You are logged in, but your user name cannot be shown: {error}"
        ) from None
    click.echo(f"You are logged in as {_name(facts)}.", err=True)
    if as_client:
        client = printable(str(facts.get("client")))
        click.echo(f"This machine is the client {client}. It needs no browser.", err=True)
    click.echo(session.store.where, err=True)


def _show_url(url: str) -> None:
    click.echo(
        f"Log in with your browser. If it does not open, open this URL:\n\n  {url}\n", err=True
    )
    if graphical_browser() is None:
        words = "No graphical browser found. To use another device: login --device"
        if find_text_browser() is not None:
            words += ". To use this terminal: login --text-browser"
        click.echo(f"{words}\n", err=True)


def _show_quit(url: str) -> None:
    click.echo("Log in with the text browser, then quit it.", err=True)


def _show_code(url: str, code: str) -> None:
    shown = f"{code[: len(code) // 2]}-{code[len(code) // 2 :]}" if len(code) == 8 else code
    click.echo(f"Open {url} in any browser and enter this code:\n\n  {shown}\n", err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
@exits_with_a_line
def whoami(session: Session, as_json: bool) -> None:
    """Show who you are logged in as, and your scopes."""
    facts = _facts(session)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name in ("user", "project", "client", "scopes", "projects", "expires_at"):
        value = facts.get(name)
        if isinstance(value, list):
            value = " ".join(map(str, value)) or "none"
        if value:
            click.echo(f"{name.replace('_', ' '):<12}{printable(str(value))}")


@click.command()
@click.option("--for", "lifetime", metavar="DURATION", help="Create a token for this time: 1h.")
@click.option("--scope", "scopes", multiple=True, help="Limit it to this scope. Repeatable.")
@click.option("--project", "projects", multiple=True, help="Limit it to this project. Repeatable.")
@click.option(
    "--workload",
    is_flag=True,
    help="Exchange the identity token of this CI job, pod or cloud server, without a login.",
)
@click.option("--key", "key_id", metavar="ID", default="", help="The ID of the project key.")
@click.option("--audience", metavar="URL", default="", help="The audience of the identity token.")
@click.pass_obj
@exits_with_a_line
def token(
    session: Session,
    lifetime: str | None,
    scopes: Sequence[str],
    projects: Sequence[str],
    workload: bool,
    key_id: str,
    audience: str,
) -> None:
    """Print a valid access token for use in a script.

    With --for, create another token for an agent. It ends with your login. With --workload,
    exchange the identity of this job.
    """
    names = [name for words in scopes for name in words.split()]
    if workload:
        if lifetime is not None or projects:
            raise click.UsageError("--workload does not take --for and --project.")
        site = replace(session.site, scopes=tuple(names) or session.site.scopes)
        with closing(Workload(site, key=key_id, audience=audience)) as tokens:
            click.echo(tokens.token())
        return
    if key_id or audience:
        raise click.UsageError("--key and --audience need --workload.")
    if not session.site.client_id and not session.is_given:
        raise click.MissingParameter(param_hint="'--client-id'", param_type="option")
    if lifetime is None:
        if scopes or projects:
            raise click.UsageError("--scope and --project need --for, such as --for 1h.")
        click.echo(session.token())
        return
    click.echo(session.agent_token(_seconds(lifetime), scopes=names, projects=projects))


def _seconds(text: str) -> int:
    match = re.fullmatch(r"([1-9][0-9]{0,4})([smh])", text)
    seconds = int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0
    if not 0 < seconds <= 24 * 3600:
        raise click.UsageError("--for takes a number of minutes or hours up to 24h, such as 1h.")
    return seconds


@click.command()
@click.argument("method", type=click.Choice(_METHODS, case_sensitive=False))
@click.argument("path")
@click.option(
    "-f",
    "--field",
    "fields",
    multiple=True,
    metavar="NAME=VALUE",
    help="Add a field to the JSON body.",
)
@click.option("-d", "--data", help="The JSON body, or - for standard input.")
@click.option("--sign", is_flag=True, help="Sign the request instead of sending an access token.")
@click.pass_obj
@exits_with_a_line
def api(
    session: Session,
    method: str,
    path: str,
    fields: Sequence[str],
    data: str | None,
    sign: bool,
) -> None:
    """Call the API, for example: api GET /api/payments/

    Prints the body of the response. Exits with status 1 if the response is an error.
    """
    auth = session.identity.auth() if sign else None
    response = _request(session, method.upper(), path, _body(fields, data), check=False, auth=auth)
    kind = response.headers.get("Content-Type", "")
    try:
        if not kind.startswith("application/json"):
            raise ValueError
        click.echo(json.dumps(response.json(), indent=2, ensure_ascii=False))
    except ValueError:
        click.echo(response.content, nl=False)
    if response.status_code >= 300:
        click.echo(f"{response.status_code} {response.reason_phrase}", err=True)
        sys.exit(1)


@click.command()
@click.pass_obj
@exits_with_a_line
def logout(session: Session) -> None:
    """Revoke the tokens and delete them from this machine.

    A client of this machine is deleted too.
    """
    session.log_out()
    click.echo("You are logged out.", err=True)


def _body(fields: Sequence[str], data: str | None) -> bytes | None:
    if data is not None:
        if fields:
            raise click.UsageError("Give either --field or --data.")
        text = sys.stdin.read() if data == "-" else data
        try:
            json.loads(text)
        except ValueError as error:
            raise click.UsageError(f"The data is not valid JSON: {error}") from None
        return text.encode()
    pairs = [field.partition("=") for field in fields]
    if unclear := [name for name, equals, _ in pairs if not equals]:
        raise click.UsageError(f"--field takes NAME=VALUE, not {unclear[0]!r}.")
    return json.dumps({name: value for name, _, value in pairs}).encode() if pairs else None


def _request(
    session: Session,
    method: str,
    path: str,
    body: bytes | None = None,
    check: bool = True,
    auth: httpx.Auth | None = None,
) -> httpx.Response:
    try:
        url = httpx.URL(urljoin(session.site.server + "/", path))
    except (ValueError, httpx.InvalidURL):
        raise LoginError(f"{printable(path)} is not a valid path.") from None
    if not session.site.owns(url):
        raise LoginError(f"{path} is not on {session.site.server}, so the token is not sent there.")
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        with make_http(auth=auth or BearerAuth(session), timeout=60) as http:
            response = http.request(method, url, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise LoginError(f"{session.site.server} cannot be reached: {error}") from None
    if check and response.is_error:
        raise LoginError(f"{session.site.server} returned the status {response.status_code}.")
    return response


def _facts(session: Session) -> dict[str, Any]:
    facts = json_object(_request(session, "GET", "/api/token/"))
    if facts is None:
        raise LoginError(
            f"{session.site.server} did not return JSON. Does this network need a login?"
        )
    return facts


def _name(facts: dict[str, Any]) -> str:
    return printable(str(facts.get("user") or facts.get("project") or facts.get("client")))
