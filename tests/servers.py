"""Servers of a test's own, to be killed: the shared ones are not anybody's to stop."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from glob import glob
from pathlib import Path

from tests.services import require

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    # Below those that outgoing connections get: who asks for a dead server there, again and
    # again, may otherwise end up connected to itself, and hold the server's port.
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port


def wait_until(true: Callable[[], object], timeout: float = 20) -> None:
    """Poll until something is so; whatever a test waits for comes with a deadline."""
    ends = time.monotonic() + timeout
    while not true():
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {timeout} s in vain for {true}")
        time.sleep(0.01)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


class Server:
    """A process that listens on a port and can be killed, frozen and started again."""

    process: "subprocess.Popen[bytes] | None" = None

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        self._launch()
        try:
            wait_until(self._is_up, 120)
        except TimeoutError as error:
            error.add_note((self.directory / "log").read_text()[-4000:])
            raise

    def _is_up(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            # A killed PostgreSQL's children hold its memory for a moment longer.
            self._launch()
        return answers(self.port)

    def _launch(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=ROOT,
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """At once, and with no chance to say good-bye."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
            self.process = None


class RedisServer(Server):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        path = shutil.which("redis-server")
        require("redis-server", bool(path), "Debian's package redis-server has it.")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        return ["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no"]


class PostgreSQLServer(Server):
    """A cluster in a directory of its own, with a database ``postgres`` and no password.

    Not in one of pytest's: each run of pytest that begins makes all of those private again, and
    the server's user would not get there any more.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        found = sorted(glob("/usr/lib/postgresql/*/bin/postgres"))
        require("PostgreSQL", bool(found), "Debian's package postgresql has it.")
        self.binaries = Path(found[-1]).parent
        shutil.chown(directory, "postgres")
        self.data = directory / "data"
        self._run("initdb", "-D", str(self.data), "-A", "trust", "--no-sync", "-U", "postgres")

    def _run(self, name: str, *arguments: str) -> None:
        command = [*self._as_postgres(), str(self.binaries / name), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    def _as_postgres(self) -> list[str]:
        # It refuses to run as root.
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def command(self) -> list[str]:
        options = ["-p", str(self.port), "-k", "", "-h", "127.0.0.1", "-c", "fsync=off"]
        # On a busy machine those that are let go take a while to end.
        options += ["-c", "max_connections=500"]
        command = [str(self.binaries / "postgres"), "-D", str(self.data), *options]
        return [*self._as_postgres(), *command]

    def _launch(self) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        super()._launch()


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.signal(signal.SIGCONT)
        server.kill()
