"""Store tokens and private keys in the system's keyring, or in a file of mode 0600.

A keyring may refuse to write, lose data or fail at any moment. So each record has the time at
which it was stored, and the newer record of keyring and file is used.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import keyring
from filelock import FileLock
from platformdirs import user_data_path

from .errors import LoginError, NotStored

Record = dict[str, Any]

_STORED_AT = "stored_at"


class Store:
    """One record of a program, which must have the member ``holds``.

    ``what`` names its content in messages.
    """

    def __init__(
        self,
        app: str,
        name: str,
        folder: Path | None = None,
        *,
        holds: str = "access_token",
        what: str = "tokens",
    ) -> None:
        self._service = app
        self._name = name
        self._holds = holds
        self._what = what
        self._folder = folder.absolute() if folder else user_data_path(app, appauthor=False)
        stem = hashlib.sha256(self._name.encode()).hexdigest()[:16]
        self.file = self._folder / f"{stem}.json"
        self._lock = FileLock(self._folder / f"{stem}.lock", mode=0o600)

    @property
    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the record between processes, because a refresh token works only once.

        Raises ``NotStored`` if the lock file cannot be written.
        """
        try:
            self._make_folder()
            self._lock.acquire()
        except (OSError, NotImplementedError) as error:
            raise self._not_stored(error) from None
        try:
            yield
        finally:
            self._lock.release()

    def load(self) -> Record | None:
        """Return the record, or ``None``. Raise ``LoginError`` if it cannot be read."""
        newest = max(self._records(), key=_stored_at, default=None)
        return newest if newest is not None and self._holds in newest else None

    def save(self, record: Record) -> None:
        """Store the record. Raise ``NotStored`` if neither keyring nor file works."""
        before = max((_stored_at(each) for each in self._records(skip_errors=True)), default=0)
        text = json.dumps(record | {_STORED_AT: max(time.time_ns(), before + 1)})
        if self._keyring_takes(text):
            with suppress(OSError):
                self.file.unlink(missing_ok=True)
            return
        try:
            self._write(text)
        except OSError as error:
            raise self._not_stored(error) from None

    def check(self) -> None:
        """Raise ``NotStored`` unless a record can be stored. Keeps the current record."""
        self.save(self.load() or {})

    def delete(self) -> None:
        """Delete the record everywhere. Raise ``NotStored`` if it stays readable."""
        with suppress(Exception):  # a backend may raise anything
            keyring.delete_password(self._service, self._name)
        with suppress(OSError):
            self.file.unlink(missing_ok=True)
        if self._records(skip_errors=True):
            self.save({})  # replaces a record that could not be deleted

    @property
    def where(self) -> str:
        """A sentence that says where the record is stored."""
        if self.file.exists():
            return (
                f"No system keyring is available, so the {self._what} are stored in {self.file} "
                "(mode 0600)."
            )
        return f"The {self._what} are stored in the system's keyring."

    def _records(self, skip_errors: bool = False) -> list[Record]:
        texts = []
        with suppress(Exception):  # a backend may raise anything
            texts.append(keyring.get_password(self._service, self._name))
        try:
            texts.append(self.file.read_text(encoding="utf-8"))
        except (FileNotFoundError, UnicodeDecodeError):
            pass
        except OSError as error:
            if not skip_errors:
                raise LoginError(f"{self.file} cannot be read: {error.strerror}.") from None
        return [record for text in texts if (record := _record(text)) is not None]

    def _keyring_takes(self, text: str) -> bool:
        try:
            keyring.set_password(self._service, self._name, text)
            return keyring.get_password(self._service, self._name) == text
        except Exception:  # noqa: BLE001 - a backend may raise anything
            return False

    def _make_folder(self) -> None:
        if not self._folder.is_absolute():
            raise OSError("no home directory was found")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write(self, text: str) -> None:
        self._make_folder()
        draft = self.file.with_suffix(f".{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            draft.replace(self.file)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def _not_stored(self, error: Exception) -> NotStored:
        reason = getattr(error, "strerror", None) or str(error)
        return NotStored(
            f"The {self._what} cannot be stored in {self._folder}: {reason}. Make the folder "
            "writable."
        )


def _record(text: object) -> Record | None:
    try:
        record = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):  # damaged, or written by another program
        return None
    return record if isinstance(record, dict) else None


def _stored_at(record: Record) -> int:
    at = record.get(_STORED_AT)
    return at if isinstance(at, int) else 0
