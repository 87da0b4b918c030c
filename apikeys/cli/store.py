"""Where tokens and private keys are kept.

In the system's keyring, or in a file of mode 0600 where there is none.
"""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import keyring
from filelock import FileLock
from keyring.errors import KeyringError, PasswordDeleteError
from platformdirs import user_data_path

Record = dict[str, Any]


class Store:
    """One record of a program's, which has the member ``holds``.

    ``where`` says in words where ``what`` are.
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
        folder = folder or user_data_path(app, appauthor=False)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stem = hashlib.sha256(self._name.encode()).hexdigest()[:16]
        self.file = folder / f"{stem}.json"
        #: Held while tokens are refreshed: a refresh token is good for one use.
        self.lock = FileLock(folder / f"{stem}.lock", mode=0o600)

    def load(self) -> Record | None:
        with suppress(KeyringError):
            if (text := keyring.get_password(self._service, self._name)) is not None:
                return self._record(text)
        try:
            return self._record(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def save(self, record: Record) -> None:
        text = json.dumps(record)
        try:
            keyring.set_password(self._service, self._name, text)
            if keyring.get_password(self._service, self._name) != text:
                raise KeyringError  # one that keeps nothing
        except KeyringError:
            self._write(text)
        else:
            self.file.unlink(missing_ok=True)

    def delete(self) -> None:
        with suppress(KeyringError, PasswordDeleteError):
            keyring.delete_password(self._service, self._name)
        self.file.unlink(missing_ok=True)

    @property
    def where(self) -> str:
        if self.file.exists():
            return (
                f"There is no system keyring here, so the {self._what} are in {self.file} "
                "(mode 0600)."
            )
        return f"The {self._what} are in the system's keyring."

    def _write(self, text: str) -> None:
        draft = self.file.with_suffix(f".{os.getpid()}")
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(self.file)

    def _record(self, text: str) -> Record | None:
        try:
            record = json.loads(text)
        except ValueError:  # somebody else's, or a half: as if there were none
            return None
        return record if isinstance(record, dict) and self._holds in record else None
