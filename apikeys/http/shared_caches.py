"""Keep shared caches from sending one caller's response to another (RFC 9111).

Django's cache middleware, proxies and CDNs are shared caches. Responses that depend on a
credential set ``Vary`` at every request, even without a credential, because a cache learns from
the first response which header fields matter.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

from django.core.signals import setting_changed
from django.http.response import HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers

from ..legacy import schemes


@cache
def credential_headers() -> tuple[str, ...]:
    """Return the header fields that can carry a credential on this site."""
    return tuple(
        dict.fromkeys(("Authorization", *schemes.headers(), "Signature-Input", "Signature"))
    )


@cache
def _environ_names() -> tuple[str, ...]:
    return tuple(f"HTTP_{name.upper().replace('-', '_')}" for name in credential_headers())


def protect(environ: Mapping[str, Any], response: HttpResponseBase) -> None:
    """Set ``Vary`` for all credentials, and keep a response to one out of shared caches.

    ``environ`` is the ``META`` of the request.
    """
    # The methods of a response check and encode a field at each call. What is written here was
    # checked once, by `_vary`.
    fields = response.headers._store
    fields["vary"] = "Vary", _vary(fields["vary"][1] if "vary" in fields else "")
    for name in _environ_names():
        if environ.get(name):  # a credential, valid or not
            make_private(response)
            return


def keep_out_of_site_cache(request: Any) -> None:
    """Keep Django's cache middleware from storing the response, wherever it stands.

    Inside a guard it sees the response before ``protect``, and a decorator around the guard may
    set ``public`` again.
    """
    cls: Any = type(request)
    request.__class__ = _uncached(cls)


class _Uncached:
    """A request whose ``_cache_update_cache`` stays false, whatever the middleware sets."""

    @property
    def _cache_update_cache(self) -> bool:
        return False

    @_cache_update_cache.setter
    def _cache_update_cache(self, value: bool) -> None:
        pass


@cache
def _uncached(cls: type) -> type:
    if issubclass(cls, _Uncached):
        return cls
    return type(cls.__name__, (_Uncached, cls), {"__module__": cls.__module__})


@lru_cache(maxsize=256)
def _vary(given: str) -> str:
    response = HttpResponse(headers={"Vary": given} if given else None)
    patch_vary_headers(response, credential_headers())
    return response["Vary"]


def make_private(response: HttpResponseBase) -> None:
    """Keep shared caches from storing any part of ``response``."""
    fields = response.headers._store
    said = fields["cache-control"][1] if "cache-control" in fields else ""
    fields["cache-control"] = "Cache-Control", private(said) if said else "private"
    for name in _for_shared_caches(tuple(fields)):
        del fields[name]


@lru_cache(maxsize=256)
def _for_shared_caches(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if is_for_shared_caches(name)]


@lru_cache(maxsize=256)
def is_for_shared_caches(name: str) -> bool:
    """Return whether a field takes precedence over ``Cache-Control`` in some caches (RFC 9213)."""
    name = name.lower()
    return name.endswith("-cache-control") or name in ("surrogate-control", "x-accel-expires")


@lru_cache(maxsize=256)
def private(cache_control: str) -> str:
    """Return ``cache_control`` with ``private`` in place of directives for shared caches.

    A value with ``no-store`` does not change.
    """
    if not cache_control:
        return "private"
    directives = [each.strip() for each in cache_control.split(",")]
    names = [each.partition("=")[0].strip().lower() for each in directives]
    if "no-store" in names and "public" not in names:
        return cache_control
    # Some caches prefer `s-maxage`, which only shared caches use.
    invites = {"public", "s-maxage", "private", ""}
    kept = [each for each, name in zip(directives, names, strict=True) if name not in invites]
    return ", ".join([*kept, "private"])


def _reload(**kwargs: object) -> None:
    credential_headers.cache_clear()
    _environ_names.cache_clear()
    _vary.cache_clear()


setting_changed.connect(_reload, dispatch_uid="apikeys.http.shared_caches")
