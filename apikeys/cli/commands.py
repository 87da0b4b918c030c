"""The command: log in, see who you are, call the API, log out."""

import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import urljoin

import click
import httpx

from .auth import BearerAuth
from .errors import LoginError
from .session import Session, Site

F = TypeVar("F", bound=Callable[..., Any])

_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


class App:
    """A site's own command. What is left out is asked for by option or environment.

    ``App("acme", server="https://api.acme.example", client_id="acme-cli").group()`` is a
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
        """A new group of the commands ``login``, ``whoami``, ``token``, ``api`` and ``logout``."""
        prefix = self.name.upper().replace("-", "_")

        @click.group(name=self.name, context_settings={"help_option_names": ["-h", "--help"]})
        @click.option(
            "--server",
            default=self._server,
            required=self._server is None,
            show_default=True,
            envvar=f"{prefix}_SERVER",
            help="The site, such as https://api.example.com.",
        )
        @click.option(
            "--client-id",
            default=self._client_id,
            required=self._client_id is None,
            show_default=True,
            envvar=f"{prefix}_CLIENT_ID",
            help="The OAuth client that this command is there.",
        )
        @click.pass_context
        @_told
        def group(context: click.Context, server: str, client_id: str) -> None:
            context.obj = Session(Site(server, client_id, self._scopes, self.name))
            context.call_on_close(context.obj.close)

        group.help = f"Log in at {self._server or 'a site'} and call its API."
        for command in (login, whoami, token, api, key, logout):
            group.add_command(command)
        return group

    def __call__(self) -> None:
        self.group()()


def _told(function: F) -> F:
    """A ``LoginError`` is a line on standard error and exit status 1, not a traceback."""

    @wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except LoginError as error:
            raise click.ClickException(str(error)) from None

    return told  # type: ignore[return-value]


@click.command()
@click.option("--device", is_flag=True, help="Log in by a browser on another machine.")
@click.option("--no-browser", is_flag=True, help="Only show the URL; open it yourself.")
@click.option("--scope", "scopes", multiple=True, help="Ask for this scope (several times).")
@click.pass_obj
@_told
def login(session: Session, device: bool, no_browser: bool, scopes: Sequence[str]) -> None:
    """Log in with a browser."""
    names = [name for words in scopes for name in words.split()]
    if device:
        session.log_in_by_device(_show_code, scopes=names)
    elif no_browser:
        session.log_in(_show_url, scopes=names, browse=None)
    else:
        session.log_in(_show_url, scopes=names)
    facts = _request(session, "GET", "/api/token/").json()
    click.echo(f"You are logged in as {_name(facts)}.", err=True)
    click.echo(session.store.where, err=True)


def _show_url(url: str) -> None:
    click.echo(f"Log in with your browser. If it does not open, open this:\n\n  {url}\n", err=True)


def _show_code(url: str, code: str) -> None:
    shown = f"{code[: len(code) // 2]}-{code[len(code) // 2 :]}" if len(code) == 8 else code
    click.echo(f"Open {url} in any browser, and type this code:\n\n  {shown}\n", err=True)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
@_told
def whoami(session: Session, as_json: bool) -> None:
    """Tell who you are, and what you may do."""
    facts = _request(session, "GET", "/api/token/").json()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name in ("user", "project", "client", "scopes", "projects", "expires_at"):
        value = facts.get(name)
        if isinstance(value, list):
            value = " ".join(value) or "none"
        if value:
            click.echo(f"{name.replace('_', ' '):<12}{_printable(str(value))}")


@click.command()
@click.pass_obj
@_told
def token(session: Session) -> None:
    """Print a valid access token, for a script."""
    click.echo(session.token())


@click.command()
@click.argument("method", type=click.Choice(_METHODS, case_sensitive=False))
@click.argument("path")
@click.option("-f", "--field", "fields", multiple=True, metavar="NAME=VALUE", help="JSON body.")
@click.option("-d", "--data", help="The JSON body; - reads it from standard input.")
@click.option("--sign", is_flag=True, help="Sign the request instead of sending an access token.")
@click.pass_obj
@_told
def api(
    session: Session,
    method: str,
    path: str,
    fields: Sequence[str],
    data: str | None,
    sign: bool,
) -> None:
    """Call the API, such as: api GET /api/payments/

    Prints the body of the answer. Exits with 1 if the answer is an error.
    """
    auth = session.identity.auth() if sign else None
    response = _request(session, method.upper(), path, _body(fields, data), check=False, auth=auth)
    kind = response.headers.get("Content-Type", "")
    if kind.startswith("application/json") and response.content:
        click.echo(json.dumps(response.json(), indent=2, ensure_ascii=False))
    else:
        click.echo(response.content, nl=False)
    if response.status_code >= 300:
        click.echo(f"{response.status_code} {response.reason_phrase}", err=True)
        sys.exit(1)


@click.group()
def key() -> None:
    """A key pair of this machine, to sign requests with."""


@key.command()
@click.option(
    "--algorithm", type=click.Choice(["ed25519", "p256"]), default="ed25519", show_default=True
)
@click.pass_obj
@_told
def new(session: Session, algorithm: str) -> None:
    """Make a key pair. Keeps the private key, and prints the public key to be registered."""
    identity = session.identity
    click.echo(identity.make(algorithm), nl=False)
    click.echo(identity.where, err=True)
    click.echo(
        "Have a project know the public key, on its page of keys, and tell its id here: key use ID",
        err=True,
    )


@key.command()
@click.pass_obj
@_told
def show(session: Session) -> None:
    """Print the public key, which is no secret."""
    identity = session.identity
    click.echo(identity.public_key, nl=False)
    click.echo(f"Its id is {identity.id or 'not known here yet'}.", err=True)


@key.command()
@click.argument("key_id", metavar="ID")
@click.pass_obj
@_told
def use(session: Session, key_id: str) -> None:
    """Say under which id the site knows the public key."""
    if not re.fullmatch(r"[0-9a-z]{16}", key_id):
        raise click.UsageError("An id has 16 characters of a-z and 0-9.")
    session.identity.use(key_id)


@key.command()
@click.pass_obj
@_told
def forget(session: Session) -> None:
    """Delete the private key from here. Revoke its key at the site, too."""
    session.identity.forget()
    click.echo("The private key is deleted.", err=True)


@click.command()
@click.pass_obj
@_told
def logout(session: Session) -> None:
    """Revoke the tokens and forget them."""
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
            raise click.UsageError(f"The data is not JSON: {error}") from None
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
    url = httpx.URL(urljoin(session.site.server + "/", path))
    if not session.site.owns(url):
        raise LoginError(f"{path} is not at {session.site.server}, so the token is not sent there.")
    headers = {"Content-Type": "application/json"} if body is not None else {}
    try:
        with httpx.Client(auth=auth or BearerAuth(session), timeout=60) as http:
            response = http.request(method, url, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise LoginError(f"{session.site.server} cannot be reached: {error}") from None
    if check and response.is_error:
        raise LoginError(f"{session.site.server} answers {response.status_code}.")
    return response


def _name(facts: dict[str, Any]) -> str:
    return _printable(str(facts.get("user") or facts.get("project") or facts.get("client")))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
