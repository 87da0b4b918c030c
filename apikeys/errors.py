"""Errors that several parts of the package raise and catch."""

from .redaction import redact_strictly


class LifecycleError(ValueError):
    """Raised when a key cannot be created, changed, rotated, revoked or approved as requested.

    Programs read ``code``, people read ``message``. ``field`` is the name of the invalid
    argument, or ``None``. Secrets in ``message`` are redacted.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        message = redact_strictly(message)  # it may quote the input
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
