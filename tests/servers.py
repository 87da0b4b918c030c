"""Servers of a test's own, to be killed: the shared ones are not anybody's to stop."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from configparser import ConfigParser
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


def exposed(port: int) -> bool:
    """Return whether a socket listens on this port beyond 127.0.0.1 and ::1. Linux only."""
    loopback = "0100007F", "0" * 24 + "01000000"
    for table in filter(Path.exists, map(Path, ("/proc/net/tcp", "/proc/net/tcp6"))):
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, number = local.partition(":")
            if state == "0A" and int(number, 16) == port and address not in loopback:
                return True
    return False


class Server:
    """A process that listens on a port and can be killed, frozen and started again."""

    process: "subprocess.Popen[bytes] | None" = None
    #: The folder in which it runs.
    cwd = ROOT

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
        assert not exposed(self.port), "A server that a test starts listens on loopback only."

    def _is_up(self) -> bool:
        if self.process is None or self.process.poll() is not None:
            # A killed PostgreSQL's children hold its memory for a moment longer.
            self._launch()
        return answers(self.port)

    def _launch(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.cwd,
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
    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(directory)
        self.options = options
        path = shutil.which("redis-server")
        require("redis-server", bool(path), "Debian's package redis-server has it.")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> list[str]:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self.directory), "--save", "", "--appendonly", "no"]
        return [*command, *self.options]


class RedisSentinel(RedisServer):
    """One Sentinel that decides alone which of some servers is the master."""

    def __init__(self, directory: Path, master: RedisServer) -> None:
        super().__init__(directory)
        self.config = directory / "sentinel.conf"
        self.config.write_text(
            f"sentinel monitor apikeys 127.0.0.1 {master.port} 1\n"
            "sentinel down-after-milliseconds apikeys 500\n"
            "sentinel failover-timeout apikeys 5000\n"
        )

    def command(self) -> list[str]:
        command = ["redis-server", str(self.config), "--sentinel", "--bind", "127.0.0.1"]
        return [*command, "--port", str(self.port), "--dir", str(self.directory)]


class Proxy:
    """Forwards each connection to the port that ``target`` returns when it is opened.

    Connections that are open stay where they are. What the servers answer can be held back.
    """

    def __init__(self, target: Callable[[], int]) -> None:
        self.target = target
        #: Bytes of answers that each connection may still pass on; ``None``: all.
        self.allowance: int | None = None
        #: Whether a connection ends where its allowance does. Otherwise the rest is held back.
        self.cuts = False
        #: Seconds by which each piece of an answer is late.
        self.delay = 0.0
        self._passed_on: Counter[socket.socket] = Counter()
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def hold(self, after: int = 0) -> None:
        """Hold answers back, after so many bytes more."""
        with self._changed:
            self.allowance = after
            self._passed_on.clear()

    def cut(self, after: int) -> None:
        """End every connection, open or new, in the middle of its answers."""
        self.cuts = True
        self.hold(after)

    def release(self) -> None:
        with self._changed:
            self.allowance = None
            self.cuts = False
            self._changed.notify_all()

    def close(self) -> None:
        self.release()
        # Without it, the thread in accept() would take one more connection.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in [self._listener, *self._connections.copy()]:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target()), 5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self._connections |= {client, server}
                threading.Thread(target=self._connect, args=(client, server), daemon=True).start()

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        """Forward both ways until both have ended, then free the file descriptors."""
        answers = threading.Thread(target=self._forward, args=(server, client, True), daemon=True)
        answers.start()
        self._forward(client, server, False)
        answers.join()
        self._connections -= {client, server}
        for each in (client, server):
            each.close()

    def _forward(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if is_answer:
                    time.sleep(self.delay)
                    rest = self._held_back(source, target, data)
                    if rest is None:
                        break
                    data = rest
                target.sendall(data)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _held_back(self, source: socket.socket, target: socket.socket, data: bytes) -> bytes | None:
        """Send what is allowed, and return the rest when it is; ``None`` where it is cut off."""
        with self._changed:
            if self.allowance is None:
                return data
            allowed = data[: self.allowance - self._passed_on[source]]
            self._passed_on[source] += len(allowed)
        target.sendall(allowed)
        if rest := data[len(allowed) :]:
            if self.cuts:
                return None
            with self._changed:
                self._changed.wait_for(lambda: self.allowance is None)
        return rest


@contextlib.contextmanager
def proxying(target: Callable[[], int]) -> Iterator[Proxy]:
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


class PostgreSQLServer(Server):
    """A cluster in a directory of its own, with a database ``postgres`` and no password.

    Not in one of pytest's: each run of pytest that begins makes all of those private again, and
    the server's user would not get there any more.
    """

    def __init__(
        self,
        directory: Path,
        max_connections: int = 500,
        template: "PostgreSQLServer | None" = None,
    ) -> None:
        """``template`` has been stopped. The new cluster begins as a copy of its data."""
        super().__init__(directory)
        self.template = template
        # On a busy machine those that are let go take a while to end.
        self.max_connections = max_connections
        found = sorted(glob("/usr/lib/postgresql/*/bin/postgres"))
        require("PostgreSQL", bool(found), "Debian's package postgresql has it.")
        self.binaries = Path(found[-1]).parent
        shutil.chown(directory, "postgres")
        self.data = directory / "data"
        self._create()

    def _create(self) -> None:
        if self.template is not None:
            subprocess.run(["cp", "--archive", self.template.data, self.data], check=True)
            return
        self._run("initdb", "-D", str(self.data), "-A", "trust", "--no-sync", "-U", "postgres")

    def _run(self, name: str, *arguments: str) -> None:
        command = [*self._as_postgres(), str(self.binaries / name), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    def _as_postgres(self) -> list[str]:
        # It refuses to run as root.
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def command(self) -> list[str]:
        options = ["-p", str(self.port), "-k", "", "-h", "127.0.0.1", "-c", "fsync=off"]
        options += ["-c", f"max_connections={self.max_connections}"]
        command = [str(self.binaries / "postgres"), "-D", str(self.data), *options]
        return [*self._as_postgres(), *command]

    def signal(self, number: int) -> None:
        """Signal the backends too: each is a process group of its own."""
        before = self._children()  # one that is killed has none any more
        super().signal(number)
        for pid in before | self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Shut down, with all data on the disk."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.process = None

    def _children(self) -> set[int]:
        if self.process is None:
            return set()
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError):
            return {int(pid) for pid in path.read_text().split()}
        return set()

    def _launch(self) -> None:
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        super()._launch()


class LaggingStandby(PostgreSQLServer):
    """A streaming replica of ``primary`` that shows nothing written after it was created.

    It receives every change, but applies a commit only when it is an hour old.
    """

    def __init__(self, directory: Path, primary: PostgreSQLServer) -> None:
        self.primary = primary
        super().__init__(directory)

    def _create(self) -> None:
        source = ["-h", "127.0.0.1", "-p", str(self.primary.port), "-U", "postgres"]
        how = ["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--wal-method=stream"]
        self._run("pg_basebackup", "-D", str(self.data), *source, *how)

    def command(self) -> list[str]:
        return [*super().command(), "-c", "recovery_min_apply_delay=1h"]

    def _is_up(self) -> bool:
        # It listens before it accepts queries.
        if not super()._is_up():
            return False
        command = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1"]
        return subprocess.run([*command, "-p", str(self.port)]).returncode == 0


class PgBouncer(Server):
    """PgBouncer in front of a PostgreSQL server, for any of its databases.

    ``config`` is an ``ini`` file. Its databases, port and address are replaced.
    """

    def __init__(self, directory: Path, target: str, config: str) -> None:
        super().__init__(directory)
        path = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        require("PgBouncer", bool(path), "Debian's package pgbouncer has it.")
        self.path = str(path)
        parser = ConfigParser(strict=False)  # a test appends what it changes
        parser.read_string(config)
        parser["databases"] = {"*": target}
        parser["pgbouncer"].update(
            listen_addr="127.0.0.1",
            listen_port=str(self.port),
            unix_socket_dir="",
            auth_type="any",
        )
        self.config = directory / "pgbouncer.ini"
        with self.config.open("w") as file:
            parser.write(file)
        shutil.chown(directory, "nobody")

    def command(self) -> list[str]:
        # It refuses to run as root.
        user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        return [*user, self.path, str(self.config)]


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        server.start()
        yield server
    finally:
        server.signal(signal.SIGCONT)
        server.kill()
