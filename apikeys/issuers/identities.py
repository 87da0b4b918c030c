"""Find the user of an identity, or let the policy create one for a new identity."""

import logging
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model
from django.db import DataError, IntegrityError, router

from .. import refusals
from ..databases import transactions
from ..policy import get_policy
from ..refusals import Refused
from . import bearer, denials, mapping
from .bearer import Verified
from .models import Identity, identity_digest
from .trusted import TrustedIssuer

logger = logging.getLogger("apikeys")


def enrol(verified: Verified) -> None:
    """Link a new identity to the user that matches, or to the user that the policy returns.

    Return if it is linked now. Raise ``Refused`` if it is denied or has no user.
    """
    denials.check(verified.claims)
    issuer, subject = verified.issuer, verified.claims["sub"]
    pk = identity_digest(issuer.url, subject)
    rows = Identity.objects.using(router.db_for_write(Identity))
    if rows.filter(pk=pk).exists():
        return
    try:
        with transactions.atomic(Identity):
            user = matching = _matching(issuer, verified.claims)
            if user is None:
                user = get_policy().external_user(issuer.url, verified.claims)
            if user is None or user.pk is None:
                raise Refused(refusals.UNKNOWN_IDENTITY)
            identity = Identity(pk=pk, issuer=issuer.url, subject=subject, user=user)
            identity.save(force_insert=True)
            others = rows.filter(issuer=issuer.url, user=user).exclude(pk=pk)
            if matching is not None and others.exists():  # linked since the question
                raise Refused(refusals.UNKNOWN_IDENTITY)
    except (IntegrityError, DataError) as error:
        if rows.filter(pk=pk).exists():  # another request was faster
            return
        logger.error(
            "The policy could not create the user of a new identity of %s: %s", issuer.url, error
        )
        raise Refused(refusals.UNKNOWN_IDENTITY) from None
    logger.info("A new identity of %s was linked to the user %s.", issuer.url, user.pk)


def _matching(issuer: TrustedIssuer, claims: Mapping[str, Any]) -> Any:
    """Return the only user whose field equals the claim in ``MATCH``, or ``None``.

    An e-mail address counts only if the issuer verified it. A user who has an identity of this
    issuer is not matched: the claim has moved to another person. Nor is a user with access to
    the admin, so that a claim never leads there.
    """
    if issuer.match is None:
        return None
    claim, field = issuer.match
    value = claims.get(claim)
    if not isinstance(value, str) or not bearer.PLAIN.fullmatch(value):
        return None
    if mapping.is_email_field(field) and claim != "email":
        return None
    if mapping.is_email(claim, field) and claims.get("email_verified") is not True:
        return None
    model: Any = get_user_model()
    users = model._default_manager.using(router.db_for_write(model)).filter(**{field: value})
    if users.db == router.db_for_write(Identity):
        # A second identity with the same claim waits, and then finds the first one.
        users = users.select_for_update()
    found = list(users[:2])
    # Databases compare text loosely: "Ada" may equal "ada".
    if len(found) != 1 or str(getattr(found[0], field)) != value:
        return None
    user = found[0]
    if getattr(user, "is_staff", False) or getattr(user, "is_superuser", False):
        return None
    rows = Identity.objects.using(router.db_for_write(Identity))
    return None if rows.filter(issuer=issuer.url, user=user).exists() else user
