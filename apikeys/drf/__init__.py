"""Django REST framework: authentication, permissions and throttles for the views of a site.

The JSON API of keys themselves lives in ``api``, decorators for plain Django views in ``http``.
"""

from .authentication import (
    AuthorizedRequest,
    BearerAuthentication,
    PrefixedAuthentication,
)
from .exceptions import InsufficientScope, refuse
from .permissions import AnyScope, HasBinding, HasScope, ReadWriteScope
from .throttling import CredentialRateThrottle, CredentialScopedRateThrottle, KeyThrottle

__all__ = [
    "AnyScope",
    "AuthorizedRequest",
    "BearerAuthentication",
    "CredentialRateThrottle",
    "CredentialScopedRateThrottle",
    "HasBinding",
    "HasScope",
    "InsufficientScope",
    "KeyThrottle",
    "PrefixedAuthentication",
    "ReadWriteScope",
    "refuse",
]
