import errno
import json
import os
import signal
import socket
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.servers.basehttp import (
    ThreadedWSGIServer,
    WSGIRequestHandler,
    get_internal_wsgi_application,
)
from django.db import DatabaseError, connection, connections
from django.views.decorators.debug import sensitive_variables

from apikeys.management.output import Screen

from ... import seed
from ...agents import Agents
from ...demo import PASSWORD
from ...gateway import Gateway, examples
from ...issuer import IdentityProvider
from ...issuer import examples as issuer_examples

HOST = "127.0.0.1"

_CALLERS = (
    ("The page at {base_url} sends ada's OAuth access token (expires in {minutes}):", "oauth"),
    ("A script of ada sends her personal access token:", "pat"),
    ("The server of Analytical Engine sends a project key:", "project_key"),
)


class Command(BaseCommand):
    help = (
        "Create demo users, projects and credentials in a SQLite database (DEMO_DATABASE, or "
        "demo.sqlite3), print them, and serve the example. Run it as often as you like: each "
        "run creates new credentials and revokes the old ones."
    )

    _is_ready = False  # whether the credentials were printed

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port",
            type=_port,
            default=8000,
            help=f"Listen on this port of {HOST}. Use 0 for a free port (default: %(default)s).",
        )
        parser.add_argument(
            "--no-serve",
            action="store_false",
            dest="serve",
            help="Create and print the credentials, then exit without serving.",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="Print the credentials as JSON on standard output.",
        )

        parser.add_argument(
            "--gateway",
            action="store_true",
            help="Also start an old server without access control, and a gateway in front of it "
            "on the next port.",
        )
        parser.add_argument(
            "--mcp",
            action="store_true",
            help="Also serve tools to agents (MCP): beside Django at /mcp, and in another process.",
        )

        parser.add_argument(
            "--issuer",
            action="store_true",
            help="Also start an identity provider in another process, and accept its tokens. The "
            "demo then runs with DEBUG, which allows an issuer on this computer.",
        )

    def handle(
        self,
        *,
        port: int,
        serve: bool,
        json: bool,
        gateway: bool = False,
        mcp: bool = False,
        issuer: bool = False,
        **options: Any,
    ) -> None:
        if connection.vendor != "sqlite":
            raise CommandError(
                "The demo only runs on SQLite, because its users have a published password. "
                f"These settings use {connection.display_name}."
            )
        if not serve and port == 0:
            raise CommandError("--port 0 needs a server. Leave out --no-serve.")
        if mcp and not serve:
            raise CommandError("--mcp needs a server. Leave out --no-serve.")
        if issuer and not serve:
            raise CommandError("--issuer needs a server. Leave out --no-serve.")
        settings.DEMO = True  # this process also serves
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # exit cleanly, as after Ctrl+C
        try:
            self._run(port, serve, json, gateway, mcp, issuer)
        except KeyboardInterrupt:
            self.stderr.write("\nThe demo has stopped.", style_func=str)
            if not self._is_ready:  # nothing is half done: it creates everything in transactions
                sys.exit(130)  # 128 + SIGINT

    @sensitive_variables("made")
    def _run(
        self, port: int, serve: bool, json: bool, gateway: bool, mcp: bool, issuer: bool
    ) -> None:
        # Listen first: early requests wait, and a port in use does not revoke credentials.
        server = _listen(port) if serve and not mcp else None
        bound = _bind(port) if mcp else None
        if bound is not None:
            port = bound.getsockname()[1]
        base_url = f"http://{HOST}:{server.server_port if server else port}"
        if gateway and not serve:
            raise CommandError("--gateway needs a server. Leave out --no-serve.")
        with ExitStack() as stack:
            guarded = agents = provider = None
            if gateway:
                listening = _bind(port + 1 if port else 0)
                guarded = stack.enter_context(Gateway(listening, base_url))
            if issuer:
                provider = stack.enter_context(IdentityProvider(base_url))
            made = self._prepare()
            if provider is not None:
                provider.link()
            if bound is not None:
                agents = stack.enter_context(Agents(bound, base_url))
            if json:
                self._print_json(base_url, made, guarded, agents, provider)
            else:
                self._print(base_url, made, serve, guarded, agents, provider)
            self.stdout.flush()
            self._is_ready = True
            if server is not None:
                self._serve(server)
            if agents is not None:
                connections.close_all()
                agents.serve()

    @sensitive_variables()
    def _prepare(self) -> seed.Credentials:
        name = connection.settings_dict["NAME"]
        try:
            self._note(f"Creating the tables in {name} …")
            call_command("migrate", verbosity=0, interactive=False)
            self._note("Creating users, projects, payments and clients …")
            seed.seed()
            self._note("Creating a credential for each kind of caller …\n")
            return seed.credentials()
        except DatabaseError as error:
            raise CommandError(
                f"The demo cannot use its database {name}: {error}. Set the environment variable "
                "DEMO_DATABASE to a writable file, or delete this file to start again."
            ) from error

    def _note(self, step: str) -> None:
        """Show a person at a terminal what takes its time."""
        if self.stderr.isatty():
            self.stderr.write(step, style_func=str)
            self.stderr.flush()

    def _print_json(
        self,
        base_url: str,
        made: seed.Credentials,
        gateway: Gateway | None = None,
        agents: Agents | None = None,
        provider: IdentityProvider | None = None,
    ) -> None:
        facts = {
            "base_url": base_url,
            "users": [
                {
                    "username": person.username,
                    "password": PASSWORD,
                    "role": person.role,
                    "project": person.project,
                }
                for person in seed.PEOPLE
            ],
            "pat": {"token": made.pat.token, "id": made.pat.key.public_id},
            "project_key": {
                "token": made.project_key.token,
                "id": made.project_key.key.public_id,
            },
            "oauth": {"client_id": seed.CLIENT_ID, "access_token": made.access_token},
        }
        if gateway is not None:
            facts["gateway"] = {
                "base_url": gateway.base_url,
                "upstream": gateway.upstream,
                "curls": [
                    {"command": f"curl {each.curl}", "status": each.status}
                    for each in examples(gateway.base_url, made)
                ],
            }
        if provider is not None:
            tokens = provider.tokens()
            facts["issuer"] = {
                "base_url": provider.base_url,
                "tokens": tokens,
                "curls": [
                    {"command": f"curl {each.curl}", "status": each.status}
                    for each in issuer_examples(base_url, tokens)
                ],
            }
        if agents is not None:
            facts["mcp"] = {"url": agents.url, "separate_url": agents.separate_url}
        self.stdout.write(json.dumps(facts, indent=2))

    def _print(
        self,
        base_url: str,
        made: seed.Credentials,
        serve: bool,
        gateway: Gateway | None = None,
        agents: Agents | None = None,
        provider: IdentityProvider | None = None,
    ) -> None:
        colors = self.style.SUCCESS("x") != "x" and not os.environ.get("NO_COLOR")
        screen = Screen(self.stdout, color=colors and self.stdout.isatty())
        screen.line(f"Acme Payments. The password of every user is {PASSWORD}\n")
        screen.table(
            ("USER", "ROLE", "PROJECT", "PAYMENTS"),
            [(person.username, person.role, *_reach(person.project)) for person in seed.PEOPLE],
        )
        tokens = {
            "oauth": made.access_token,
            "pat": made.pat.token,
            "project_key": made.project_key.token,
        }
        screen.line("\nThree kinds of caller, one header:")
        for title, name in _CALLERS:
            minutes = _duration(made.expires_in)
            screen.line("\n" + title.format(base_url=base_url, minutes=minutes))
            header = f"Authorization: Bearer {tokens[name]}"
            screen.line(f"curl -H '{header}' {base_url}/api/payments/1/")
        if gateway is not None:
            screen.line(f"\nAn old server without access control at {gateway.upstream}:")
            screen.line(f"curl {gateway.upstream}/subscribers/1002/offers")
            screen.line(f"\nThe gateway in front of it, at {gateway.base_url}:")
            for each in examples(gateway.base_url, made):
                screen.line(f"\n{each.title}\ncurl -i {each.curl}")
        if provider is not None:
            screen.line(
                f"\nAn identity provider at {provider.base_url}, whose tokens are accepted:"
            )
            for each in issuer_examples(base_url, provider.tokens()):
                screen.line(f"\n{each.title}\ncurl -i {each.curl}")
        if agents is not None:
            screen.line(f"\nAgents connect (MCP) to {agents.url}")
            screen.line(f"The same tools, served by another process: {agents.separate_url}")
        if serve:
            screen.line(f"\nOpen {base_url} and log in. Ctrl+C stops the demo.")

    def _serve(self, server: ThreadedWSGIServer) -> None:
        server.set_app(StaticFilesHandler(get_internal_wsgi_application()))
        connections.close_all()
        try:
            server.serve_forever()
        finally:
            server.server_close()


def _listen(port: int) -> ThreadedWSGIServer:
    with _explained(port):
        return ThreadedWSGIServer((HOST, port), WSGIRequestHandler)


def _bind(port: int) -> socket.socket:
    with _explained(port):
        return socket.create_server((HOST, port))


@contextmanager
def _explained(port: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = f"is in use. Stop that program, or choose another: --port {port + 1}"
        elif error.errno == errno.EACCES:
            advice = "needs administrator rights. Choose a port above 1023, such as --port 8000"
        else:
            advice = f"cannot be used: {error.strerror}"
        raise CommandError(f"Port {port} of {HOST} {advice}") from error


def _reach(project: str | None) -> tuple[str, str]:
    if project is None:
        return "/admin/", "none"
    numbers = [str(n) for n, (slug, *_) in seed.PAYMENTS.items() if slug == project]
    return seed.PROJECTS[project], ", ".join(numbers)


def _duration(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise ArgumentTypeError(f"{text!r} is not a port. Use a number from 0 to 65535.")
    return int(text)
