"""Passwords tried at the token endpoint are counted (RFC 6749 section 4.3.2), in Django's cache."""

import hashlib
import time
import unicodedata
from contextlib import suppress
from typing import Any, Final

from django.core.cache import cache
from oauthlib.oauth2.rfc6749 import errors

from .. import networks

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

    Returns what ``give_back`` takes. Raises ``TooManyTries``.
    """
    now = int(time.time())
    # The name has the window in it: some caches start a lifetime anew with every `incr`.
    window, passed = divmod(now, WINDOW)
    counters = []
    for what, most in (
        (f"name:{_alike(username)}", OF_NAME),
        (f"address:{networks.client_ip(request) or '?'}", FROM_ADDRESS),
    ):
        counter = f"apikeys:password:{hashlib.sha256(what.encode()).hexdigest()}:{window}"
        counters.append(counter)
        cache.add(counter, 0, WINDOW)
        try:
            tries = cache.incr(counter)
        except ValueError:  # the cache keeps nothing
            tries = 1
        if tries > most:
            raise TooManyTries(WINDOW - passed)
    return counters


def give_back(counters: list[str]) -> None:
    """The password was right."""
    for counter in counters:
        with suppress(ValueError):
            cache.decr(counter)


def _alike(username: str) -> str:
    """The same for names that some database takes for one another."""
    letters = unicodedata.normalize("NFKD", username.casefold())
    return "".join(c for c in letters if not unicodedata.combining(c)).strip()
