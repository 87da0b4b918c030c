"""Limit wrong passwords at the token endpoint (RFC 6749 section 4.3.2)."""

import time
import unicodedata
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from oauthlib.oauth2.rfc6749 import errors

from ..limits import attempts, networks

#: Wrong passwords allowed for one user name, and from one address, in ``WINDOW`` seconds.
OF_NAME: Final = 10
FROM_ADDRESS: Final = 50
WINDOW: Final = 15 * 60

# Cut longer names: the time to normalise a name grows with the square of its length.
_LONGEST_NAME: Final = 320


class TooManyTries(errors.OAuth2Error):  # type: ignore[misc,unused-ignore]
    """Refuse an attempt with a custom error code (section 8.5).

    ``invalid_grant`` would say that the password is wrong.
    """

    error = "too_many_tries"
    status_code = 429

    def __init__(self, seconds: int, what: str = "passwords") -> None:
        super().__init__(f"Too many wrong {what}. Try again in {-(-seconds // 60)} minutes.")
        self.seconds = seconds

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.seconds)}


def count(username: str, request: Any) -> list[str]:
    """Count an attempt before its password is checked, so that parallel attempts count too.

    The address is counted first: an address over its limit cannot use up the attempts of a
    name. Return the counters for ``attempts.give_back``. Raise ``TooManyTries``.
    """
    counters = [_count(f"address:{networks.counted(networks.client_ip(request))}", FROM_ADDRESS)]
    counters.append(_count(f"name:{canonical(username)}", OF_NAME))
    if (user := _found(username)) is not None:
        counters.append(_count(f"user:{user.pk}", OF_NAME))
    return counters


def _count(what: str, most: int) -> str:
    number, counter = attempts.count(f"password:{what}", WINDOW)
    if number > most:
        raise TooManyTries(WINDOW - int(time.time()) % WINDOW)
    return counter


def _found(username: str) -> Any:
    """Return the user of this name, or ``None``.

    Only the database knows which names it treats as equal.
    """
    try:
        return get_user_model()._default_manager.get_by_natural_key(username)
    except (ObjectDoesNotExist, MultipleObjectsReturned, ValueError):  # ValueError: a NUL
        return None


def canonical(username: str) -> str:
    """Return the same text for all names that an authentication backend may treat as equal.

    Ignores case, width, accents, spaces and invisible characters.
    """
    letters = unicodedata.normalize("NFKD", username[:_LONGEST_NAME].casefold()).casefold()
    return "".join(c for c in letters if unicodedata.category(c)[0] not in "CMZ")
