"""Sign a value in a form, so that submitting the form twice has one effect.

The value identifies the object that the form creates or replaces. The view of a second
submission finds that object, and creates nothing.
"""

from typing import Any, Final

from django.core import signing

MAX_AGE: Final = 24 * 60 * 60  # seconds during which a form can be submitted


def sign(value: Any, salt: str) -> str:
    """Return ``value`` as signed text for a hidden field of the form."""
    return signing.dumps(value, salt=salt)


def read(text: str, salt: str) -> Any:
    """Return the value in ``text``, or ``None`` if its signature is invalid or too old."""
    try:
        return signing.loads(text, salt=salt, max_age=MAX_AGE)
    except (signing.BadSignature, ValueError):
        return None
