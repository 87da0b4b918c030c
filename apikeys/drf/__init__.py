"""Django REST framework: who it is, and whether this view is for them."""

from .authentication import AuthorizedRequest, BearerAuthentication
from .exceptions import InsufficientScope, refuse
from .permissions import AnyScope, HasBinding, HasScope
from .throttling import KeyThrottle

__all__ = [
    "AnyScope",
    "AuthorizedRequest",
    "BearerAuthentication",
    "HasBinding",
    "HasScope",
    "InsufficientScope",
    "KeyThrottle",
    "refuse",
]
