"""How often a credential may be used: its own rate limits, and those of the policy."""

import logging
import math
import threading
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from .. import rates, refusals
from ..access import OAUTH, Access
from ..conf import app_settings
from ..rates import Rate
from .exceptions import RefusedException

logger = logging.getLogger("apikeys")

_making = threading.Lock()
_TIMEOUT = 1.0  # seconds, for a store that does not answer


class RateLimited(RefusedException):
    """429, or 503 where nobody can count; ``Retry-After`` says when to come again."""

    def __init__(self, refusal: refusals.Refusal, wait: int) -> None:
        super().__init__(refusal)
        self._wait = wait

    @property
    def wait(self) -> int:
        return self._wait


class KeyThrottle(BaseThrottle):
    """Holds a key to its ``rate_limits``, and every credential to the policy's.

    The answers tell of it in ``RateLimit`` and ``RateLimit-Policy``
    (draft-ietf-httpapi-ratelimit-headers). A window begins with its first request. Needs the
    extra ``limits``; ``APIKEYS["RATE_LIMIT_STORE"]`` says where the counts are.
    """

    def allow_request(self, request: Request, view: Any) -> bool:
        access = request.auth
        if not isinstance(access, Access):
            return True
        limits = _limits(access)
        if not limits:
            return True
        try:
            refused, fields = _count(limits, _identity(access))
        except _store_errors() as error:
            logger.warning("Rate limits cannot be counted, as their store is away: %s", error)
            if app_settings.RATE_LIMIT_FAIL_OPEN:
                return True
            refusal = refusals.RATE_LIMIT_UNAVAILABLE
            raise RateLimited(refusal, refusal.retry_after or 1) from None
        view.headers.update(fields)
        if refused is not None:
            raise RateLimited(refusals.RATE_LIMITED, refused)
        return True


def is_limited(access: Access) -> bool:
    """Whether requests of ``access`` are counted."""
    return bool(_limits(access))


def waits(access: Access) -> bool:
    """Whether counting a request of ``access`` means to wait for another server."""
    return not app_settings.RATE_LIMIT_STORE.startswith("memory:") and is_limited(access)


def _limits(access: Access) -> list[Rate]:
    imposed = rates.parse_all(" ".join(app_settings.POLICY.rate_limits(access)))
    own = rates.parse_all(access.rate_limits)
    # The shortest time first, so that what it refuses does not count for the longer ones.
    return sorted({*own, *imposed}, key=lambda rate: (rate.seconds, rate.amount))


def _count(limits: Iterable[Rate], identity: str) -> tuple[int | None, dict[str, str]]:
    """Seconds to wait if it is too much, and the header fields that tell where one stands."""
    limiter, wait = _limiter(app_settings.RATE_LIMIT_STORE), None
    policies, states = [], []
    for rate in limits:
        item = _item(rate)
        if wait is None and not limiter.hit(item, identity):
            wait = 0  # known below
            refused = True
        else:
            refused = False
        reset, remaining = limiter.get_window_stats(item, identity)
        left = max(1, math.ceil(reset - time.time()))
        if refused:
            wait = left
        policies.append(f'"{rate}";q={rate.amount};w={rate.seconds}')
        states.append(f'"{rate}";r={max(0, remaining)};t={left}')
    return wait, {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(states)}


def _identity(access: Access) -> str:
    """Whose requests are counted together; an OAuth token is renewed every few minutes."""
    key = access.key if access.kind == OAUTH else access.credential_id
    if key:  # with all tokens that it was exchanged for
        return f"key:{key}"
    client = access.client.pk if access.client is not None else ""
    user = access.user.pk if access.user is not None else ""
    return f"{OAUTH}:{client}:{user}"


@lru_cache(maxsize=1024)
def _item(rate: Rate) -> Any:
    from limits import parse

    return parse(str(rate))


def _limiter(url: str) -> Any:
    with _making:  # two of them in one process would count by themselves
        return _make_limiter(url)


@lru_cache(maxsize=4)
def _make_limiter(url: str) -> Any:
    from limits.storage import storage_from_string
    from limits.strategies import FixedWindowRateLimiter

    options: dict[str, Any] = {}
    if "redis" in url.partition("://")[0]:
        options = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
    return FixedWindowRateLimiter(storage_from_string(url, **options))


def _store_errors() -> tuple[type[Exception], ...]:
    errors = _limiter(app_settings.RATE_LIMIT_STORE).storage.base_exceptions
    return errors if isinstance(errors, tuple) else (errors,)
