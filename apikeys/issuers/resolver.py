"""Turn a JWT of a trusted issuer into an ``Access``. Takes one query, or none with the cache.

The claim ``iss`` chooses the issuer, so that no issuer is tried in vain. Every other text is
left to the next resolver.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from django.http import HttpRequest
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import cache, refusals
from ..access import EXTERNAL, Access
from ..cache.lookup import Lookup, Row, all_except
from ..frozen import frozen
from ..limits import networks
from ..models.owners import is_active
from ..policy import get_policy
from ..refusals import Refused
from ..verify import NOT_IN_CHARGE
from . import bearer, denials, identities, tokens
from .bearer import Verified
from .conf import issuers_settings
from .models import Denial, Identity, identity_digest


class _Identities(Lookup):
    """Find the identity of a token and its user, unless the token is denied, in one query."""

    def find_for(self, verified: Verified, alias: str | None) -> Row | None:
        alias = alias or self._alias()
        statement = self._compiled(alias)
        quote = connections[alias].ops.quote_name
        denied = verified.denials
        places = ", ".join(["%s"] * len(denied))
        sql = (
            f"{statement.sql} AND NOT EXISTS (SELECT 1 FROM {quote(Denial._meta.db_table)} "  # noqa: S608
            f"WHERE {quote('id')} IN ({places}) AND {quote('until')} >= %s)"
        )
        pk = identity_digest(verified.issuer.url, verified.claims["sub"])
        with connections[alias].cursor() as cursor:
            cursor.execute(sql, (pk, *denied, denials.issued_at(verified.claims)))
            row: Row | None = next(iter(cursor), None)
        return None if row is None else self._judged(self._grouped(statement.convert(row)), alias)


_IDENTITIES: Final = _Identities(
    Identity, "id", ("pk",), {"user": all_except("password")}, ["user"]
)


class _Tokens(Lookup):
    """The rows of verified tokens in the cache: the token, then the row of its identity."""

    def tags_of(self, row: Row) -> list[tuple[Any, Any]]:
        denied = [(Denial, each) for each in row[0].denials]
        return _IDENTITIES.tags_of(row[1:]) + denied


_TOKENS: Final = _Tokens(Identity, "id")


class _Loading:
    """Load the row of a token that is not in the cache."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.verified: Verified | None = None

    def __call__(self, alias: str | None) -> Sequence[Any] | None:
        if self.verified is None:
            url = tokens.claimed_issuer(self.text)
            issuer = None if url is None else issuers_settings.ISSUERS.get(url)
            if issuer is None:
                return None
            self.verified = bearer.verify(self.text, issuer)
        row = _IDENTITIES.find_for(self.verified, alias)
        return None if row is None else [self.verified, *row]


@sensitive_variables()
def resolve(text: str, request: HttpRequest | None) -> Access | None:
    """Return the ``Access`` of a valid token; ``None`` leaves ``text`` to other resolvers.

    Raise ``Refused`` for a token of a trusted issuer that this site refuses.
    """
    if text.count(".") != 2 or not issuers_settings.ISSUERS:
        return None
    key, loading = bearer.digest(text), _Loading(text)
    row = cache.find_or_load(_TOKENS, key, loading)
    if row is None:
        if loading.verified is None:
            return None
        identities.enrol(loading.verified)
        row = cache.find_or_load(_TOKENS, key, loading)
        if row is None:  # denied in the meantime
            raise Refused(refusals.REVOKED_TOKEN)
    return _access(row, request)


@sensitive_variables()
def recall(text: str, request: HttpRequest | None) -> Any:
    """Return what ``resolve`` returns from memory; ``None`` if that needs the database.

    Return ``NOT_IN_CHARGE`` for text that is left to other resolvers.
    """
    if text.count(".") != 2 or not issuers_settings.ISSUERS:
        return NOT_IN_CHARGE
    row = cache.peek(_TOKENS, bearer.digest(text))
    if row is None:
        return None if _may_be_ours(text) else NOT_IN_CHARGE
    try:
        return _access(row, request)
    except SynchronousOnlyOperation:  # a custom policy or user model runs a query
        return None


def _may_be_ours(text: str) -> bool:
    try:
        return tokens.claimed_issuer(text) in issuers_settings.ISSUERS
    except Refused:  # `resolve` will raise it again
        return True


def _access(row: Row, request: HttpRequest | None) -> Access:
    verified: Verified = row[0]
    if verified.expires_at <= timezone.now():  # a cached row may outlive its token
        raise Refused(refusals.EXPIRED_TOKEN)
    (user,) = _IDENTITIES.build(row[1:])
    access = access_of(verified, user)
    imposed = get_policy().allowed_networks(user)
    if imposed and not networks.allowed_from((" ".join(imposed),), networks.client_ip(request)):
        raise Refused(refusals.IP_NOT_ALLOWED)
    return access


def access_of(verified: Verified, user: Any) -> Access:
    """Return the ``Access`` of a verified token of ``user``. Raise ``Refused``."""
    if user is None or not is_active(user):
        raise Refused(refusals.INACTIVE_USER)
    client = verified.client
    return Access(
        kind=EXTERNAL,
        credential_id=verified.credential_id,
        name=client.client_id if client is not None else "",
        scope=verified.scope,
        user=user,
        principal=user,
        client=client,
        expires_at=verified.expires_at,
        upstream=denials.upstream_of(verified.claims),
        issuer=verified.issuer.url,
        external_claims=verified.claims,
    )


def renew(access: Access) -> Access | None:
    """Return ``access`` if it is still valid, for a change that it makes; otherwise ``None``."""
    try:
        return recheck(access.to_dict())
    except Refused:
        return None


def recheck(data: Mapping[str, Any]) -> Access:
    """Return the ``Access`` that a token has now, by what ``Access.to_dict`` stored of it.

    No text is checked, so this is for work after a request. Raise ``Refused``.
    """
    issuer = issuers_settings.ISSUERS.get(data["issuer"])
    if issuer is None:
        raise Refused(refusals.UNTRUSTED_ISSUER)
    verified = bearer.of_claims(frozen(data["external_claims"]), issuer, data["id"])
    if verified.expires_at <= timezone.now():
        raise Refused(refusals.EXPIRED_TOKEN)
    row = _IDENTITIES.find_for(verified, None)
    if row is None:
        denials.check(verified.claims)
        raise Refused(refusals.UNKNOWN_IDENTITY)
    (user,) = _IDENTITIES.build(row)
    return access_of(verified, user)
