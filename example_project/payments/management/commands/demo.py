import errno
import json
import os
import signal
import socket
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
from ...demo import PASSWORD
from ...gateway import Gateway, examples

HOST = "127.0.0.1"

_CALLERS = (
    ("The page at {base_url}, with ada's OAuth access token (for {minutes}):", "oauth"),
    ("ada's script, with her personal access token:", "pat"),
    ("Analytical Engine's server, with the project's key:", "project_key"),
)


class Command(BaseCommand):
    help = (
        "Serve a small payments SaaS: make its SQLite database (DEMO_DATABASE, or demo.sqlite3), "
        "its people and their credentials, show them, and listen. It may be started again; "
        "the credentials are new each time, and the former ones end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port",
            type=_port,
            default=8000,
            help=f"Where to listen on {HOST}; 0 takes a free port (default: %(default)s).",
        )
        parser.add_argument(
            "--no-serve",
            action="store_false",
            dest="serve",
            help="Do all but listen.",
        )
        parser.add_argument(
            "--json",
            action="store_true",
            help="Print the credentials as JSON on standard output, and nothing else there.",
        )

        parser.add_argument(
            "--gateway",
            action="store_true",
            help="Also start an old server of offers that answers everybody, and a gateway in "
            "front of it, on the next port.",
        )

    @sensitive_variables("made")
    def handle(
        self, *, port: int, serve: bool, json: bool, gateway: bool = False, **options: Any
    ) -> None:
        if connection.vendor != "sqlite":
            raise CommandError(
                "The demo has people with a published password, so it makes them in SQLite only; "
                f"these settings name {connection.display_name}."
            )
        if not serve and port == 0:
            raise CommandError("--port 0 takes a free port to serve on: leave out --no-serve.")
        settings.DEMO = True  # of this process, which is also the one that serves
        # Whoever calls early waits in the queue; and a port in use costs no credentials.
        server = _listen(port) if serve else None
        base_url = f"http://{HOST}:{server.server_port if server else port}"
        if gateway and server is None:
            raise CommandError("--gateway serves: leave out --no-serve.")
        with ExitStack() as stack:
            guarded = None
            if gateway:
                listening = _bind(port + 1 if port else 0)
                guarded = stack.enter_context(Gateway(listening))
            made = _prepare()
            if json:
                self._print_json(base_url, made, guarded)
            else:
                self._print(base_url, made, serve, guarded)
            self.stdout.flush()
            if server is not None:
                self._serve(server)

    def _print_json(
        self, base_url: str, made: seed.Credentials, gateway: Gateway | None = None
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
        self.stdout.write(json.dumps(facts, indent=2))

    def _print(
        self,
        base_url: str,
        made: seed.Credentials,
        serve: bool,
        gateway: Gateway | None = None,
    ) -> None:
        colors = self.style.SUCCESS("x") != "x" and not os.environ.get("NO_COLOR")
        screen = Screen(self.stdout, color=colors and self.stdout.isatty())
        screen.line(f"Acme Payments. Everybody's password is {PASSWORD}\n")
        screen.table(
            ("WHO", "WHAT", "WHERE", "PAYMENTS"),
            [(person.username, person.role, *_reach(person.project)) for person in seed.PEOPLE],
        )
        tokens = {
            "oauth": made.access_token,
            "pat": made.pat.token,
            "project_key": made.project_key.token,
        }
        screen.line("\nThree callers, one header:")
        for title, name in _CALLERS:
            minutes = _duration(made.expires_in)
            screen.line("\n" + title.format(base_url=base_url, minutes=minutes))
            header = f"Authorization: Bearer {tokens[name]}"
            screen.line(f"curl -H '{header}' {base_url}/api/payments/1/")
        if gateway is not None:
            screen.line(
                f"\nAn old server of offers at {gateway.upstream}, which answers everybody:"
            )
            screen.line(f"curl {gateway.upstream}/subscribers/1002/offers")
            screen.line(f"\nThe gateway in front of it, at {gateway.base_url}:")
            for each in examples(gateway.base_url, made):
                screen.line(f"\n{each.title}\ncurl -i {each.curl}")
        if serve:
            screen.line(f"\nOpen {base_url} and log in. Ctrl+C stops the demo.")

    def _serve(self, server: ThreadedWSGIServer) -> None:
        server.set_app(StaticFilesHandler(get_internal_wsgi_application()))
        connections.close_all()
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # a clean exit, as by Ctrl+C
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            self.stderr.write("\nThe demo has stopped.", style_func=str)
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
            advice = f"is in use. Stop what uses it, or choose another: --port {port + 1}"
        elif error.errno == errno.EACCES:
            advice = "needs more rights than you have. Choose one above 1023, like --port 8000"
        else:
            advice = f"cannot be listened on: {error.strerror}"
        raise CommandError(f"Port {port} of {HOST} {advice}") from error


@sensitive_variables()
def _prepare() -> seed.Credentials:
    try:
        call_command("migrate", verbosity=0, interactive=False)
        seed.seed()
        return seed.credentials()
    except DatabaseError as error:
        name = connection.settings_dict["NAME"]
        raise CommandError(
            f"The demo cannot use its database {name}: {error}. Name a file that can be written "
            "in the environment variable DEMO_DATABASE, or delete this one to start afresh."
        ) from error


def _reach(project: str | None) -> tuple[str, str]:
    if project is None:
        return "/admin/", "none"
    numbers = [str(n) for n, (slug, *_) in seed.PAYMENTS.items() if slug == project]
    return seed.PROJECTS[project], ", ".join(numbers)


def _duration(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds >= 120 else f"{seconds} seconds"


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise ArgumentTypeError(f"{text!r} is not a port: give a number from 0 to 65535.")
    return int(text)
