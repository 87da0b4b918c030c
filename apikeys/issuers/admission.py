"""Admit a project key whose holder proved itself with a JWT, and accept each JWT once."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from .. import cache, refusals, token, usage
from ..access import Access
from ..cache import project_users
from ..cache.lookup import Lookup, Row, all_except
from ..conf import app_settings
from ..conf.endings import end_settings
from ..models import ProjectKey
from ..refusals import Refused
from ..signatures import nonces
from ..verify import FIELDS, Key, Use, check_request, check_state, project_key

_PUBLIC_KEY: Final = len(FIELDS)
_MAX_ID: Final = 255  # characters of ``jti``


def find(key_id: str) -> Row | None:
    """Return the row of the key with this ID, or ``None``."""
    return cache.find(_keys(), key_id) if token.is_id(key_id) else None


def public_key_of(row: Row) -> str:
    """Return the public key in PEM, or an empty text."""
    return str(row[_PUBLIC_KEY])


def admit(key_id: str, row: Row, request: HttpRequest | None, use: Use) -> Access:
    """Return the ``Access`` of a key whose holder is proved. Raise ``Refused``."""
    key = Key(*row[:_PUBLIC_KEY])
    try:
        check_state(key, use)
    except Refused as refused:
        usage.note_if_ended(ProjectKey, key.pk, request, refused)
        raise
    (project,) = _keys().build(row)
    ip = check_request(ProjectKey, key.pk, key.restrictions, project, request, use)
    access = project_key(key_id, key, project)
    usage.note_use(ProjectKey, key.pk, ip)
    return access


def _keys() -> Lookup:
    return _lookup(app_settings.PROJECT_USER, end_settings.ENFORCE_LONGEST_LIFETIME)


@lru_cache(maxsize=8)
def _lookup(relation: str | None, ages: bool) -> Lookup:
    fields, project = (*FIELDS, "public_key"), {"project": all_except()}
    return project_users.make(ProjectKey, "public_id", fields, project, ["project"])


@sensitive_variables()
def use_up(issuer: str, text: str, claims: Mapping[str, Any]) -> None:
    """Use the JWT ``text`` up. Raise ``Refused`` (``replayed_token``) at the second time."""
    # Longer than it is valid, because clocks may differ.
    if not nonces.use(f"jwt {issuer}", _name_of(text, claims), int(claims["exp"]) + 300):
        raise Refused(refusals.REPLAYED_TOKEN)


def _name_of(text: str, claims: Mapping[str, Any]) -> str:
    """Return what a JWT is remembered by: its ID, or the hash of what was signed.

    Not the hash of the whole text: some signatures have a second valid form.
    """
    named = claims.get("jti")
    if isinstance(named, str) and 0 < len(named) <= _MAX_ID:
        return f"jti {named}"
    signed = text.rpartition(".")[0]
    return f"hash {hashlib.sha256(signed.encode()).hexdigest()}"
