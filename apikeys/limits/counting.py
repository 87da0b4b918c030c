"""Count requests against the rate limits of the credential and of the policy.

Every adapter calls ``spend`` or ``aspend`` after authorization. A request that several adapters
see is counted once. Needs the extra ``limits``.
"""

import logging
import math
import threading
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest

from .. import refusals
from ..access import Access, lasting_id
from ..conf import app_settings
from ..databases import tenants, unavailable
from ..policy import get_policy
from ..refusals import Refused
from ..restrictions import rates_of
from . import rates
from .rates import Rate

logger = logging.getLogger("apikeys")

#: The header fields with the limits and the remaining requests.
FIELDS: Final = ("RateLimit-Policy", "RateLimit")

_NOTHING: Final[Mapping[str, str]] = {}
_making = threading.Lock()
_TIMEOUT = 1.0  # seconds, for a store that does not answer


def spend(access: Access, request: HttpRequest | None = None) -> Mapping[str, str]:
    """Count a request of ``access``; return the ``RateLimit`` header fields.

    Raise ``Refused``: ``rate_limited``, or ``rate_limit_unavailable`` if the store does not
    answer. The refusal has the header fields too. ``request`` stores that it was counted.
    """
    limits = _limits(access)
    return _spend(limits, access, request) if limits else _NOTHING


async def aspend(access: Access, request: HttpRequest | None = None) -> Mapping[str, str]:
    """Count like ``spend``. Use a thread if counting waits for another server."""
    try:
        limits = _limits(access)
    except SynchronousOnlyOperation:  # the policy makes a query
        return await sync_to_async(spend)(access, request)
    if not limits:
        return _NOTHING
    if is_in_memory():
        return _spend(limits, access, request)
    return await sync_to_async(_spend)(limits, access, request)


def spent(request: HttpRequest) -> Mapping[str, str]:
    """Return the ``RateLimit`` header fields of ``request``, if it was counted."""
    counts: dict[str, Mapping[str, str]] | None = getattr(request, "_apikeys_counts", None)
    return next(iter(counts.values())) if counts else _NOTHING


def is_limited(access: Access) -> bool:
    """Return whether requests of ``access`` are counted. Also true during a policy's outage."""
    try:
        return bool(_limits(access))
    except Refused:
        return True


def waits(access: Access) -> bool:
    """Return whether counting a request of ``access`` waits for another server."""
    return not is_in_memory() and is_limited(access)


def is_in_memory() -> bool:
    """Return whether each process counts for itself."""
    return app_settings.RATE_LIMIT_STORE.startswith("memory:")


def answers() -> bool:
    """Return whether the store of counts can be used."""
    try:
        return bool(_limiter(app_settings.RATE_LIMIT_STORE).storage.check())
    except (ImportError, _StoreAwayError):
        return False


def _limits(access: Access) -> list[Rate]:
    try:
        imposed = get_policy().rate_limits(access)
    except Exception as error:
        if (refusal := unavailable.refusal(error)) is None:
            raise
        raise Refused(refusal) from None
    own = rates_of(access)
    if not imposed and not own:
        return []
    all_rates = {*rates.parse_all(own), *rates.parse_all(" ".join(imposed))}
    # Shortest first, so that a refused request does not count against longer limits.
    return sorted(all_rates, key=lambda rate: (rate.seconds, rate.amount))


def _spend(limits: list[Rate], access: Access, request: HttpRequest | None) -> Mapping[str, str]:
    identity = identity_of(access)
    # Stored on Django's request, which all adapters of one request share.
    counts: dict[str, Mapping[str, str]] = getattr(request, "_apikeys_counts", {})
    if (counted := counts.get(identity)) is not None:
        return counted
    try:
        limiter = _limiter(app_settings.RATE_LIMIT_STORE)
        try:
            wait, fields = _count(limiter, limits, identity)
        except limiter.storage.base_exceptions as error:
            raise _StoreAwayError(error) from error
    except ImportError:
        logger.error('Rate limits cannot be counted. Run `pip install "apikeys[limits]"`.')
        return _uncounted()
    except _StoreAwayError as error:
        logger.warning("Rate limits cannot be counted, because the store is unavailable: %s", error)
        return _uncounted()
    if wait is not None:
        raise Refused(refusals.RATE_LIMITED, {"Retry-After": str(wait), **fields})
    if request is not None:
        request._apikeys_counts = {**counts, identity: fields}  # type: ignore[attr-defined]
    return fields


def _uncounted() -> Mapping[str, str]:
    if app_settings.RATE_LIMIT_FAIL_OPEN:
        return _NOTHING
    raise Refused(refusals.RATE_LIMIT_UNAVAILABLE) from None


def _count(
    limiter: Any, limits: Iterable[Rate], identity: str
) -> tuple[int | None, dict[str, str]]:
    """Return the seconds to wait if a limit is exceeded, or ``None``, and the header fields."""
    wait = None
    policies, states = [], []
    for rate in limits:
        item = _item(rate)
        if wait is None and not limiter.hit(item, identity):
            wait = 0  # set below
            refused = True
        else:
            refused = False
        reset, remaining = limiter.get_window_stats(item, identity)
        left = max(1, math.ceil(reset - time.time()))
        if refused:
            wait = left
        policies.append(f'"{rate}";q={rate.amount};w={rate.seconds}')
        states.append(f'"{rate}";r={max(0, remaining)};t={left}')
    return wait, dict(zip(FIELDS, (", ".join(policies), ", ".join(states)), strict=True))


def identity_of(access: Access) -> str:
    """Return whose requests are counted together.

    OAuth and external tokens are replaced every few minutes, so count by key, or by client and
    user.
    """
    # Rows of two tenants may have the same primary keys and IDs.
    tenant = tenants.prefix_of(get_user_model())
    if key := lasting_id(access):  # all tokens of a key share its limit
        return f"{tenant}key:{key}"
    client = access.client.pk if access.client is not None else ""
    user = access.user.pk if access.user is not None else ""
    return f"{tenant}{access.kind}:{client}:{user}"


@lru_cache(maxsize=1024)
def _item(rate: Rate) -> Any:
    from limits import parse

    return parse(str(rate))


class _StoreAwayError(Exception):
    pass


def _limiter(url: str) -> Any:
    with _making:  # two limiters in one process would count separately
        return _make_limiter(url)


@lru_cache(maxsize=4)
def _make_limiter(url: str) -> Any:
    from limits.errors import ConfigurationError
    from limits.storage import storage_from_string
    from limits.strategies import FixedWindowRateLimiter

    options: dict[str, Any] = {}
    if "redis" in url.partition("://")[0]:
        options = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
    try:
        storage = storage_from_string(url, **options)
    except ConfigurationError:
        raise
    except Exception as error:  # the client of a cluster connects at once
        raise _StoreAwayError(error) from error
    return FixedWindowRateLimiter(storage)
