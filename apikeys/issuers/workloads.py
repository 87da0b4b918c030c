"""Find the project key that trusts a workload's token.

Anyone can get a token of a public issuer, so nothing about a key is revealed before its rules
match. The rules are in ``apikeys.workloads``, and ``apikeys.oauth`` exchanges the tokens.
"""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any, Final

from django.db import router
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from .. import refusals, token
from ..access import Access
from ..databases import unavailable
from ..models import ProjectKey, State
from ..refusals import Refused
from ..verify import NOT_IN_CHARGE, REQUEST, Use
from ..workloads import rules
from ..workloads.conf import WorkloadIssuer, audiences, workload_settings
from . import admission, entries, tokens, workload_checks

#: The longest lifetime of a token that is exchanged, in seconds (RFC 7523 section 3).
LONGEST: Final = 24 * 60 * 60
#: Maximum number of keys that may trust one workload.
_MOST: Final = 50

#: Uses a token up. Raises ``Refused`` (``replayed_token``) if it was used before.
UseUp = Callable[[], None]


@sensitive_variables()
def issuer_of(text: str) -> WorkloadIssuer | None:
    """Return the workload issuer that ``text`` names, if the site trusts it. Verifies nothing."""
    trusted = workload_settings.WORKLOAD_ISSUERS
    return trusted.get(tokens.issuer_of(text) or "") if trusted else None


@sensitive_variables()
def exchange(
    text: str, request: HttpRequest, key_id: str | None = None
) -> tuple[ProjectKey, Access, UseUp]:
    """Return the key that trusts the token ``text``, its ``Access``, and how to use the token up.

    ``key_id`` chooses between several keys. Raise ``Refused``.
    """
    if (entry := issuer_of(text)) is None:
        raise Refused(refusals.UNTRUSTED_ISSUER)
    claims = _read(text, entry)
    if claims["exp"] > time.time() + LONGEST:
        raise Refused(refusals.TOKEN_LIVES_TOO_LONG)
    with unavailable.answer():
        key = _find(entry, claims, key_id)
        access = _admit(key, request, Use(exchange=True))

    return key, access, partial(admission.use_up, entry.url, text, claims)


@sensitive_variables()
def resolve(text: str, request: HttpRequest | None) -> Access | None:
    """Return the ``Access`` of a workload's token that is sent as a bearer token.

    It ends with the token, so nothing that it creates outlives the token. Return ``None`` for
    text of others. Raise ``Refused``.
    """
    if (entry := issuer_of(text)) is None:
        return None
    if not entry.direct_use:
        raise Refused(refusals.EXCHANGE_REQUIRED)
    claims = _read(text, entry)
    key = _find(entry, claims, None, is_direct=True)
    access = _admit(key, request, REQUEST)
    ends = datetime.fromtimestamp(claims["exp"] + _issuer(entry).leeway, UTC)
    access.expires_at = min(access.expires_at or ends, ends)
    return access


def recall(text: str, request: HttpRequest | None) -> Any:
    """Leave text of others to their resolvers. A workload's token needs the database."""
    try:
        return NOT_IN_CHARGE if issuer_of(text) is None else None
    except Refused:
        return None


def _read(text: str, entry: WorkloadIssuer) -> Mapping[str, Any]:
    if workload_checks.faults_of(entry):
        raise Refused(refusals.UNTRUSTED_ISSUER)
    claims = tokens.read(text, _issuer(entry), audiences=audiences(entry))
    tokens.check_one_audience(claims)
    if "cnf" in claims or "events" in claims:  # bound to a key (RFC 7800), or a logout token
        raise Refused(refusals.TOKEN_TYPE_NOT_ACCEPTED)
    return claims


@lru_cache(maxsize=64)
def _issuer(entry: WorkloadIssuer) -> entries.Issuer:
    return entries.build(entry.url, entry.options)


def _find(
    entry: WorkloadIssuer, claims: Mapping[str, Any], key_id: str | None, *, is_direct: bool = False
) -> ProjectKey:
    """Return the key whose rules match. It may have ended: the caller checks its state.

    ``is_direct`` leaves out keys that requests refuse: other projects cannot shut a workload
    out with them.
    """
    rows = ProjectKey._default_manager.using(router.db_for_write(ProjectKey))
    if key_id is not None:
        rows = rows.filter(public_id=key_id) if token.is_id(key_id) else rows.none()
    else:
        rows = rows.filter(trust_anchor__in=rules.anchors_of(entry, claims))
    candidates = list(rows.exclude(trust="").select_related("project").order_by("-pk")[: _MOST + 1])
    if is_direct and (direct := [key for key in candidates if _is_direct(key)]):
        candidates = direct
    # Any project can trust a public repository. Keys count that have ended, or whose rules do not
    # match: a run that your key refuses must not act for a stranger's project.
    if len(candidates) > _MOST or len({key.project_id for key in candidates}) > 1:
        raise Refused(refusals.SEVERAL_KEYS)
    found = [
        (key, trust)
        for key in candidates
        if (trust := rules.read(key.trust)) is not None
        and trust.issuer == entry.url
        and claims["aud"] in (trust.audience, (trust.audience,), [trust.audience])
        and rules.matches(trust, claims)
    ]
    if not found:
        raise Refused(refusals.WORKLOAD_NOT_TRUSTED)
    keys = [key for key, trust in found if not rules.is_pull_request(trust, claims)]
    if not keys:
        raise Refused(refusals.PULL_REQUEST_NOT_TRUSTED)
    live = [key for key in keys if key.state() is State.LIVE]
    # During a rotation, the new key takes the place of the old one.
    current = [key for key in live if key.rotated_at is None] or live
    if not current:  # which state does the refusal name?
        current = [key for key in keys if key.state() is State.PAUSED][:1] or keys[:1]
    if len(current) > 1:
        raise Refused(refusals.SEVERAL_KEYS)
    if is_direct and not _is_direct(current[0]):
        raise Refused(refusals.EXCHANGE_REQUIRED)
    return current[0]


def _is_direct(key: ProjectKey) -> bool:
    """Return whether requests accept the workload's token itself.

    A converted key is exchanged only: its ``direct_use`` is about the secret that it had.
    """
    return key.direct_use and key.secret_ends_at is None


def _admit(key: ProjectKey, request: HttpRequest | None, use: Use) -> Access:
    if (row := admission.find(key.public_id)) is None:
        raise Refused(refusals.WORKLOAD_NOT_TRUSTED)
    return admission.admit(key.public_id, row, request, use)
