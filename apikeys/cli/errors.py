class LoginError(Exception):
    """An error whose message tells the user what to do."""


class NotLoggedIn(LoginError):  # noqa: N818 - the name describes the state
    """No token is stored, or the site no longer accepts it."""


class Unavailable(LoginError):  # noqa: N818 - as above
    """The site did not answer as an OAuth server. Retry after ``retry_after`` seconds."""

    def __init__(self, message: str, retry_after: float = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NotStored(LoginError):  # noqa: N818 - as above
    """Neither the system's keyring nor a file can store the record."""
