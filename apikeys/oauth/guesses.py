"""Passwords tried at the token endpoint are counted (RFC 6749 section 4.3.2), in Django's cache."""

import hashlib
import time
import unicodedata
from typing import Any, Final

from oauthlib.oauth2.rfc6749 import errors

from .. import networks, tries

#: Wrong passwords of one user name, and from one address, in ``WINDOW`` seconds, after which
#: no more are looked at.
OF_NAME: Final = 10
FROM_ADDRESS: Final = 50
WINDOW: Final = 15 * 60


class TooManyTries(errors.OAuth2Error):  # type: ignore[misc,unused-ignore]
    """An error code of our own (section 8.5): ``invalid_grant`` says that a password is wrong."""

    error = "too_many_tries"
    status_code = 429

    def __init__(self, seconds: int) -> None:
        super().__init__(f"Too many wrong passwords. Try again in {-(-seconds // 60)} minutes.")
        self.seconds = seconds

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.seconds)}


def count(username: str, request: Any) -> list[str]:
    """Count a try before it is looked at, so that many at once are no more than one by one.

    Returns what ``tries.give_back`` takes. Raises ``TooManyTries``.
    """
    counters = []
    for what, most in (
        (f"name:{_alike(username)}", OF_NAME),
        (f"address:{networks.client_ip(request) or '?'}", FROM_ADDRESS),
    ):
        name = f"password:{hashlib.sha256(what.encode()).hexdigest()}"
        number, counter = tries.count(name, WINDOW)
        if number > most:
            raise TooManyTries(WINDOW - int(time.time()) % WINDOW)
        counters.append(counter)
    return counters


def _alike(username: str) -> str:
    """The same for names that some database takes for one another."""
    letters = unicodedata.normalize("NFKD", username.casefold())
    return "".join(c for c in letters if not unicodedata.combining(c)).strip()
