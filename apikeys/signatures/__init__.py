"""Verify signed requests (RFC 9421) of keys that have a public key instead of a secret.

The checks that all keys share are in ``apikeys.verify``. Needs the extra ``signatures``.
"""

from typing import Any

from django.http import HttpRequest

from .. import refusals
from ..access import Access
from ..refusals import Refused
from .messages import Message, is_signed, message_of


def authenticate(request: HttpRequest) -> Access | None:
    """Return the ``Access`` of a signed request; ``None`` if unsigned. Raise ``Refused``."""
    return verify(message_of(request), request) if is_signed(request) else None


def verify(message: Message, request: HttpRequest | None = None) -> Access:
    """Return the ``Access`` of a signed message and use up its nonce. Raise ``Refused``."""
    access: Access = _verification().verify(message, request)
    return access


def prove(message: Message) -> None:
    """Check the signature of ``message`` without its body. Raise ``Refused``.

    Call it before you read a large body. It does not check the state of the key: call
    ``verify`` afterwards.
    """
    _verification().prove(message)


def _verification() -> Any:
    try:
        from . import verification
    except ImportError:
        raise Refused(refusals.SIGNATURE_NOT_ACCEPTED) from None
    return verification
