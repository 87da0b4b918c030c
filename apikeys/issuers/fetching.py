"""Fetch a JSON document of an issuer, and follow redirects on its host."""

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urljoin

from django.conf import settings

from .. import fetching
from ..fetching import FetchError, Network

TIMEOUT: Final = 5.0  # seconds for one document, with its redirects
MOST: Final = 256 * 1024  # bytes
_REDIRECTS: Final = 3


def fetch(url: str, networks: Sequence[Network] = ()) -> Mapping[str, Any]:
    """Return the JSON object at ``url``. Raise one of ``fetching.ERRORS``.

    ``networks`` are private networks in which the server may be.
    """
    ends = time.monotonic() + TIMEOUT
    is_local = settings.DEBUG
    origin = fetching.origin(url, is_local=is_local)
    for _ in range(_REDIRECTS + 1):
        answer = fetching.get(url, ends=ends, most=MOST, networks=networks, is_local=is_local)
        if answer.status not in (301, 302, 303, 307, 308):
            break
        url = urljoin(url, answer.headers.get("Location", ""))
        if fetching.origin(url, is_local=is_local) != origin:
            raise FetchError("The server redirects to another host.")
    else:
        raise FetchError("The server redirects too often.")
    if answer.status != http.client.OK:
        raise FetchError(f"The server answers {answer.status}.")
    document = json.loads(answer.body)
    if not isinstance(document, dict):
        raise FetchError("The server sends no JSON object.")
    return document
