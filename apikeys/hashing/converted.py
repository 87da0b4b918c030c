"""Check the old secret of a key that was converted to trust a workload."""

import hmac
from typing import Any

from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import hashing, refusals
from ..models.endings import ends_of
from ..refusals import Refused
from ..token import Parsed
from .lost_peppers import check_root, renew_digest

__all__ = ["check_rest", "is_secret_of", "renew_digest"]


def check_rest(model: Any, pk: int, parsed: Parsed, digest: str, pepper_id: str) -> bool:
    """Return whether the secret matches a digest whose pepper is not known.

    The key was converted, or its pepper is lost. Raise ``Refused``.
    """
    matches = check(parsed.secret, digest, pepper_id)
    return check_root(model, pk, parsed) if matches is None else matches


@sensitive_variables("parsed", *hashing.SENSITIVE)
def is_secret_of(key: Any, parsed: Parsed) -> bool:
    """Return whether ``parsed`` has the secret of ``key``, in any state. Raise ``Refused``."""
    matches = hashing.check_digest(parsed.secret, key.digest, key.pepper_id)
    if matches is None:
        return check_rest(type(key), key.pk, parsed, key.digest, key.pepper_id)
    return matches


def check(secret: str, digest: str, pepper_id: str) -> bool | None:
    """Return whether ``secret`` has this digest; ``None`` if the key was not converted.

    Raise ``Refused`` (``secret_ended``) for the right secret after the overlap. The caller must
    hide ``hashing.SENSITIVE`` from error reports.
    """
    if (ends := ends_of(pepper_id)) is None:
        return None
    found = [hmac.compare_digest(each, digest) for each in hashing.digests(secret)]
    if any(found) and ends <= timezone.now():
        raise Refused(refusals.SECRET_ENDED)
    return any(found)
