"""Fetch the metadata document of a client within a total time."""

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any

from oauth2_provider import cimd
from oauth2_provider.settings import oauth2_settings

from .. import fetching


class DocumentFetcher:
    """Fetches documents in place of django-oauth-toolkit's ``SafeMetadataFetcher``.

    There, ``CIMD_FETCH_TIMEOUT_SECONDS`` starts again with each byte, so that an anonymous visitor
    could hold a worker.
    """

    def fetch(self, client_id: str) -> tuple[Mapping[str, Any], float]:
        """Return the document and the seconds for which it is fresh. Raise ``CIMDError``."""
        try:
            cimd._validate_client_id_url(client_id)
            answer = fetching.get(
                client_id,
                ends=time.monotonic() + oauth2_settings.CIMD_FETCH_TIMEOUT_SECONDS,
                most=oauth2_settings.CIMD_MAX_DOCUMENT_SIZE,
                accept="application/json, application/*+json",
            )
            if answer.status != http.client.OK:
                raise cimd.CIMDError(f"the server answers {answer.status}")
            kind = answer.headers.get_content_type()
            if kind != "application/json" and not (
                kind.startswith("application/") and kind.endswith("+json")
            ):
                raise cimd.CIMDError("it is not JSON")
            document = json.loads(answer.body)
            fresh = cimd._effective_max_age(answer.headers.get("Cache-Control"))
        except fetching.ERRORS as error:
            raise cimd.CIMDError(f"it could not be fetched: {error}") from None
        if not isinstance(document, dict):
            raise cimd.CIMDError("it is not a JSON object")
        return document, fresh


def chosen() -> Any:
    """Return the fetcher of ``CIMD_METADATA_FETCHER``, or ours in place of the default."""
    given = oauth2_settings.CIMD_METADATA_FETCHER
    return DocumentFetcher() if given is cimd.SafeMetadataFetcher else given()
