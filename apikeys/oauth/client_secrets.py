"""Limit how often the slow hash of an OAuth client's secret is computed.

Anyone who knows a client ID can send wrong secrets for it. Once the process has seen the right
secret of a client, it remembers a digest of it and no longer computes the slow hash. From then
on, wrong secrets cost nothing and cannot lock the client out.
"""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from contextvars import ContextVar
from typing import Any, Final

from django.contrib.auth.hashers import check_password, identify_hasher
from django.utils.crypto import constant_time_compare
from django.views.decorators.debug import sensitive_variables

from ..limits import attempts, networks
from .http import AddressedRequest
from .password_attempts import TooManyTries

#: Wrong secrets allowed for one client from one address in ``WINDOW`` seconds.
MOST: Final = 20
WINDOW: Final = 5 * 60

# Maps the digest of a stored hash to the digest of its secret, under a key of this process.
_right: OrderedDict[bytes, bytes] = OrderedDict()
_MOST_REMEMBERED: Final = 10_000
_process_key: Final = secrets.token_bytes(32)


class Attempt:
    """Check the client secret of one request (oauthlib's)."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._counter: str | None = None

    @sensitive_variables()
    def is_right(self, secret: str, stored: str) -> bool:
        """Return whether ``stored`` is the hash of ``secret``. Raise ``TooManyTries``."""
        try:
            identify_hasher(stored)
        except ValueError:  # the site stores secrets in clear text
            return constant_time_compare(secret, stored)
        name, digest = _digest(stored), _digest(stored, secret)
        if (right := _right.get(name)) is not None:
            return hmac.compare_digest(right, digest)
        self._count()
        if not check_password(secret, stored):
            return False
        _right[name] = digest
        if len(_right) > _MOST_REMEMBERED:
            _right.popitem(last=False)
        return True

    def _count(self) -> None:
        """Count this request before it computes its first hash. Count it only once."""
        if self._counter is not None:
            return
        address = networks.counted(networks.client_ip(AddressedRequest(self._request.headers)))
        name = f"client:{address}:{getattr(self._request.client, 'client_id', '')}"
        number, self._counter = attempts.count_surely(name, WINDOW)
        if number > MOST:
            seconds = WINDOW - int(time.time()) % WINDOW
            raise TooManyTries(seconds, "client secrets")

    def give_back(self) -> None:
        """Undo the count, because the client sent the right secret."""
        if self._counter is not None:
            attempts.give_back(self._counter)


#: The attempt of the current request.
current: ContextVar[Attempt] = ContextVar("apikeys_client_attempt")


@sensitive_variables()
def _digest(*parts: str) -> bytes:
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hmac.digest(_process_key, text, hashlib.sha256)
