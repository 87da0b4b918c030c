"""Clients that identify themselves with the URL of a metadata document (CIMD).

The document is fetched from public addresses only. This module stores the client. It accepts the
redirect URIs of programs on the user's computer, and limits how many clients there are. It stores
no logo, so no page loads one.
"""

import logging
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone
from oauth2_provider import cimd
from oauth2_provider.models import get_application_model
from oauth2_provider.settings import oauth2_settings

from ..databases import transactions, unavailable
from ..models import naming
from . import document_fetcher, registration
from .http import AddressedRequest, is_text

logger = logging.getLogger("apikeys")


def is_document(client_id: str) -> bool:
    """Return whether ``client_id`` is the URL of a document, and the site accepts these."""
    return bool(oauth2_settings.CIMD_ENABLED and cimd.is_cimd_client_id(client_id))


def is_client(client_id: str, request: Any) -> bool:
    """Return whether the client of a document is stored and up to date.

    Fetches the document of a new client, and again when it is stale. If that fails, an existing
    client keeps what was fetched before.
    """
    model = get_application_model()
    client = model._default_manager.filter(client_id=client_id).first()
    if client is None:
        return _fetch(client_id, request, is_new=True)
    ends = client.cimd_expires_at
    if client.registration_source == model.RegistrationSource.CIMD and (
        ends is None or ends <= timezone.now()
    ):
        _fetch(client_id, request, is_new=False)
    return True


def _fetch(client_id: str, request: Any, *, is_new: bool) -> bool:
    """Fetch the document and store the client. Return whether that succeeded."""
    if not cimd._registration_permitted(request, client_id):
        return False
    backoff = cimd._backoff_cache_key(client_id)
    if cache.get(backoff):
        return False
    if is_new and registration.are_too_many(AddressedRequest(request.headers)):
        logger.warning("The document of a new client was not fetched: there are too many.")
        return False
    with cimd._fetch_slot() as is_free:
        if not is_free:
            return False
        try:
            _store(client_id, *document_fetcher.chosen().fetch(client_id))
        except cimd.CIMDError as error:
            logger.info("The document of the client %r is refused: %s", client_id, error)
        except Exception as error:
            # The document is untrusted and the caller anonymous: this must not be a 500.
            if unavailable.reason(error) is not None:
                raise
            logger.exception("The document of the client %r cannot be used", client_id)
        else:
            return True
    cache.set(backoff, True, oauth2_settings.CIMD_FAILURE_BACKOFF_SECONDS)
    return False


def _store(client_id: str, metadata: Any, max_age: float) -> None:
    """Create or update the client. Raise ``CIMDError`` for metadata that it cannot have."""
    if metadata.get("client_id") != client_id:
        raise cimd.CIMDError("its client_id is another URL")
    fields = cimd._build_application_kwargs(metadata | {"grant_types": _grant_types(metadata)})
    uris = fields["redirect_uris"].split()
    if not registration.are_redirect_uris(uris):
        raise cimd.CIMDError("a redirect URI is not https, and not http on this computer")
    if fields["name"] and not (is_text(fields["name"]) and naming.is_readable(fields["name"])):
        raise cimd.CIMDError("its client_name is not readable")
    model = get_application_model()
    client = model._default_manager.filter(client_id=client_id).first()
    if client is None:
        client = model(client_id=client_id)
    elif client.registration_source != model.RegistrationSource.CIMD:
        raise cimd.CIMDError("a client of another kind has this ID")
    client.user = None
    client.client_type = client.CLIENT_PUBLIC
    client.registration_source = model.RegistrationSource.CIMD
    client.cimd_expires_at = timezone.now() + timedelta(seconds=max_age)
    for field, value in fields.items():
        setattr(client, field, value)
    try:
        # The redirect URIs were checked above. Two requests may store the same client.
        client.full_clean(exclude=["redirect_uris", "client_secret"], validate_unique=False)
    except ValidationError as error:
        others = {field for field in error.message_dict if field != "redirect_uris"}
        if others:
            raise cimd.CIMDError(f"it has invalid fields: {', '.join(sorted(others))}") from None
    try:
        with transactions.atomic(model):
            client.save()
    except IntegrityError:  # another request stored it first
        if not model._default_manager.filter(client_id=client_id).exists():
            raise


def _grant_types(metadata: Any) -> list[str]:
    """Return the authorization code grant if the client uses it, among others or alone."""
    names = metadata.get("grant_types", ["authorization_code"])
    if not isinstance(names, list) or "authorization_code" not in names:
        raise cimd.CIMDError("it does not use the authorization code grant")
    return ["authorization_code"]
