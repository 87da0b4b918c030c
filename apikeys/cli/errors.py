class LoginError(Exception):
    """What went wrong, in a sentence that says what to do."""


class NotLoggedIn(LoginError):  # noqa: N818 - it says what is
    """There is no token, or none that the site still accepts."""
