"""``KeyThrottle``: the rate limits of ``apikeys.limits.counting`` in Django REST framework."""

from collections.abc import Mapping
from typing import Any, Self

from rest_framework.request import Request
from rest_framework.throttling import (
    BaseThrottle,
    ScopedRateThrottle,
    SimpleRateThrottle,
    UserRateThrottle,
)

from .. import refusals
from ..access import Access
from ..limits.counting import identity_of, spend
from ..limits.counting import is_limited as is_limited
from ..limits.counting import waits as waits
from ..refusals import Refused
from .exceptions import RefusedException


class RateLimited(RefusedException):
    """429, or 503 if the store is unavailable. ``Retry-After`` says when to try again."""

    def __init__(
        self, refusal: refusals.Refusal, wait: int, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(refusal)
        self._wait = wait
        self.fields = fields or {}

    @classmethod
    def of(cls, refused: Refused) -> Self:
        """Return the exception for a refusal of ``spend``."""
        return cls(refused.refusal, refused.retry_after or 1, refused.fields)

    @property
    def wait(self) -> int:
        return self._wait


class _ByCredential(SimpleRateThrottle):
    def get_cache_key(self, request: Request, view: Any) -> str | None:
        """Return the name of the counter for the caller of ``request``."""
        if not isinstance(request.auth, Access):
            return super().get_cache_key(request, view)
        return str(self.cache_format % {"scope": self.scope, "ident": identity_of(request.auth)})


class CredentialRateThrottle(_ByCredential, UserRateThrottle):
    """Like REST framework's ``UserRateThrottle``, but count the requests of each credential.

    The original counts by primary key of the user, which a ``ProjectUser`` does not have: all
    project keys would share one limit. Requests without a credential count as in the original.
    """


class CredentialScopedRateThrottle(_ByCredential, ScopedRateThrottle):
    """Like REST framework's ``ScopedRateThrottle``, but count the requests of each credential."""


class KeyThrottle(BaseThrottle):
    """Apply the ``rate_limits`` of a key, and the policy's to every credential.

    Responses say how many requests remain in ``RateLimit`` and ``RateLimit-Policy``
    (draft-ietf-httpapi-ratelimit-headers). A window begins with its first request. Needs the
    extra ``limits``; ``APIKEYS["RATE_LIMIT_STORE"]`` says where the counts are.
    """

    def allow_request(self, request: Request, view: Any) -> bool:
        access = request.auth
        if not isinstance(access, Access):
            return True
        try:
            fields = spend(access, getattr(request, "_request", None))
        except Refused as refused:
            limited = RateLimited.of(refused)
        else:
            view.headers.update(fields)
            return True
        view.headers.update(limited.fields)
        raise limited
