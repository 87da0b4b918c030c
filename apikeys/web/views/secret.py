"""The page that shows the secret of a new key, once."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ... import scopes, token
from ...conf import app_settings
from ...drf import inventory
from ...keys.setup import setups
from ...lifecycle import Minted
from ...models import AnyKey
from ...reach.listing import awaited
from ...templatetags.apikeys_pages import in_full
from .pages import OwnerPage
from .rows import labelled, pauses

_MINUTE: Final = 60

logger = logging.getLogger("apikeys")


@dataclass(frozen=True)
class _Example:
    """A request with the secret. Its ``repr`` hides the secret, because Django logs contexts."""

    name: str
    label: str
    code: str = field(repr=False)

    @property
    def rows(self) -> int:
        return self.code.count("\n") + 3


@sensitive_variables()
def secret_page(
    view: OwnerPage, minted: Minted[Any], predecessor: AnyKey | None = None
) -> HttpResponse:
    """Return the only response that contains the secret.

    It is not a redirect, because the secret would then have to be stored in between.
    """
    request, key = view.request, minted.key
    url, instead_of = _example_url(request, key)
    return OwnerPage.page(
        view,
        "secret",
        minted=minted,
        key=minted.key,
        pauses=pauses(minted.key, timezone.now()),
        awaits=awaited(minted.key),
        predecessor=predecessor,
        scopes=labelled(key.scopes),
        expires=in_full(minted.key.expires_at) if minted.key.expires_at else "",
        curl_url=url,
        instead_of=instead_of,
        examples=_examples(minted.token, url),
        test_url=_test_url(request),
        counts_soon=_counts_soon(),
        url=view.owner.url("key", minted.key),
        setups=setups(minted.key),
    )


@sensitive_variables()
def _examples(secret: str, url: str) -> list[_Example]:
    """Return the same request in several languages."""
    curl = f'curl -H "Authorization: Bearer {secret}" {url}'
    python = (
        "import requests\n\n"
        f"response = requests.get({json.dumps(url)},\n"
        f'    headers={{"Authorization": "Bearer {secret}"}}, timeout=10)\n'
        "print(response.status_code, response.text)"
    )
    script = (
        f"const response = await fetch({json.dumps(url)}, {{\n"
        f'  headers: {{ Authorization: "Bearer {secret}" }},\n'
        "});\n"
        "console.log(response.status, await response.text());"
    )
    return [
        _Example("curl", "curl", curl),
        _Example("python", "Python", python),
        _Example("js", "JavaScript", script),
    ]


def _test_url(request: HttpRequest) -> str:
    """Return the URL that the page calls to test the key, or an empty string.

    It is the endpoint that describes a credential, or ``CURL_URL`` if that is on this host.
    """
    try:
        return reverse("apikeys-token")
    except NoReverseMatch:
        url, own = urlsplit(_curl_url(request)), urlsplit(request.build_absolute_uri("/"))
        same = (url.scheme, url.netloc) == (own.scheme, own.netloc)
        return url.geturl() if same else ""


def _example_url(request: HttpRequest, key: AnyKey) -> tuple[str, dict[str, Any] | None]:
    """Return the URL that the examples call, and what ``key`` lacks for ``CURL_URL``, if anything.

    If the key cannot call ``CURL_URL``, the examples call the endpoint that describes it.
    """
    url = _curl_url(request)
    try:
        found = _operation(request, url)
        path = reverse("apikeys-token").removeprefix(get_script_prefix())
    except NoReverseMatch:
        return url, None
    except Exception:  # a view of the site; this page is the only one with the secret
        logger.exception("Cannot find out which scopes %s requires.", url)
        return url, None
    if found is None or found.problem or found.requires is None:
        return url, None  # not known
    missing = [name for name in found.requires if not scopes.covers(key.scopes, [name])]
    accepts = token.KIND_NAMES[key.KIND] in found.accepts
    if accepts and not missing:
        return url, None
    identity = urljoin(request.build_absolute_uri(_root(request)), path)
    return identity, {"path": urlsplit(url).path, "missing": missing, "accepts": accepts}


def _operation(request: HttpRequest, url: str) -> inventory.Operation | None:
    """Return what a GET of ``url`` does; ``None`` if the URL is not one of this site."""
    called, own = urlsplit(url), urlsplit(request.build_absolute_uri(_root(request)))
    same = (called.scheme, called.netloc) == (own.scheme, own.netloc)
    if not same or not called.path.startswith(own.path):
        return None
    path = "/" + called.path.removeprefix(own.path)
    return inventory.operation_at(path, "GET", getattr(request, "urlconf", None))


def _counts_soon() -> bool:
    """Return whether a use is written within a minute, rather than by a call of ``flush``."""
    interval = app_settings.LAST_USED_INTERVAL
    return interval is not None and interval < _MINUTE


def _curl_url(request: HttpRequest) -> str:
    """Return ``CURL_URL`` as an absolute URL. A path is relative to the site's script prefix."""
    root = _root(request)
    url = app_settings.CURL_URL
    if url.startswith("/") and not url.startswith(("//", root)):
        url = url[1:]
    return urljoin(request.build_absolute_uri(root), url)


def _root(request: HttpRequest) -> str:
    """Return the path under which the site is mounted, with a slash at the end."""
    return f"{(request.META.get('SCRIPT_NAME') or get_script_prefix()).rstrip('/')}/"
