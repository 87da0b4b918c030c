"""The page that shows the secret of a new key, once."""

import json
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from ...conf import app_settings
from ...keys.setup import setups
from ...lifecycle import Minted
from ...models import AnyKey
from ...reach.listing import awaited
from ...templatetags.apikeys_pages import in_full
from .pages import OwnerPage
from .rows import labelled, pauses

_MINUTE: Final = 60


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
    request = view.request
    return OwnerPage.page(
        view,
        "secret",
        minted=minted,
        key=minted.key,
        pauses=pauses(minted.key, timezone.now()),
        awaits=awaited(minted.key),
        predecessor=predecessor,
        scopes=labelled(minted.key.scopes),
        expires=in_full(minted.key.expires_at) if minted.key.expires_at else "",
        curl_url=_curl_url(request),
        examples=_examples(minted.token, _curl_url(request)),
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


def _counts_soon() -> bool:
    """Return whether a use is written within a minute, rather than by a call of ``flush``."""
    interval = app_settings.LAST_USED_INTERVAL
    return interval is not None and interval < _MINUTE


def _curl_url(request: HttpRequest) -> str:
    """Return ``CURL_URL`` as an absolute URL. A path is relative to the site's script prefix."""
    root = f"{(request.META.get('SCRIPT_NAME') or get_script_prefix()).rstrip('/')}/"
    url = app_settings.CURL_URL
    if url.startswith("/") and not url.startswith(("//", root)):
        url = url[1:]
    return urljoin(request.build_absolute_uri(root), url)
