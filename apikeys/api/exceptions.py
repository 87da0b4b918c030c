"""What the JSON API answers when it cannot do as asked: ``{"detail", "code", "field"?}``."""

from collections.abc import Iterator
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist
from django.db import InterfaceError, OperationalError
from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import (
    APIException,
    ErrorDetail,
    NotFound,
    PermissionDenied,
    ValidationError,
)
from rest_framework.response import Response
from rest_framework.views import exception_handler

from ..drf.exceptions import unavailable
from ..lifecycle import LifecycleError
from ..redaction import redact_value

#: The status of what ``lifecycle`` refuses, by code; 400 for all others.
STATUSES: Final = {
    # more than the caller may give
    "scope_not_grantable": status.HTTP_403_FORBIDDEN,
    "project_not_grantable": status.HTTP_403_FORBIDDEN,
    "outlives_credential": status.HTTP_403_FORBIDDEN,
    "network_not_grantable": status.HTTP_403_FORBIDDEN,
    "rate_limit_not_grantable": status.HTTP_403_FORBIDDEN,
    "resource_not_grantable": status.HTTP_403_FORBIDDEN,
    "approval_required": status.HTTP_403_FORBIDDEN,
    "unknown_key": status.HTTP_404_NOT_FOUND,
    # not in the state in which things are
    "revoked_key": status.HTTP_409_CONFLICT,
    "expired_key": status.HTTP_409_CONFLICT,
    "already_rotated": status.HTTP_409_CONFLICT,
    "not_pending": status.HTTP_409_CONFLICT,
    "too_many_keys": status.HTTP_409_CONFLICT,
    "inactive_user": status.HTTP_409_CONFLICT,
    "inactive_project": status.HTTP_409_CONFLICT,
    "credential_changed": status.HTTP_409_CONFLICT,
}

# The arguments of ``lifecycle`` that have another name in a body, or none.
_FIELDS = {"overlap": "overlap_seconds", "user": None, "project": None}


class Failed(APIException):
    """A ``LifecycleError`` as an answer."""

    def __init__(self, error: LifecycleError) -> None:
        self.status_code = STATUSES.get(error.code, status.HTTP_400_BAD_REQUEST)
        super().__init__(error.message, error.code)
        self.field = _FIELDS.get(error.field, error.field) if error.field else None


class UserRequired(PermissionDenied):
    default_code = "user_required"
    default_detail = _(
        "Nobody is behind this credential. A project key manages the keys of its own project, "
        "at projects/{slug}/keys/."
    )


class NotAManager(PermissionDenied):
    default_code = "may_not_manage_keys"
    default_detail = _("Your role lets you see the keys of this project, not manage them.")


class NotAnApprover(PermissionDenied):
    default_code = "may_not_approve"
    default_detail = _("It is not yours to decide on this key.")


class RecentLoginRequired(PermissionDenied):
    default_code = "recent_login_required"
    default_detail = _("Confirm that it is you: log in again, then repeat this.")


class InvalidIdempotencyKey(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "invalid_idempotency_key"
    default_detail = _(
        "An Idempotency-Key has 1 to 255 visible ASCII characters; a UUID is a good one."
    )


class IdempotencyKeyReused(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = _(
        "This Idempotency-Key was used for another request. Take a new one for each."
    )


class InvalidCursor(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "invalid_cursor"
    default_detail = _("No such cursor. Follow the links `next` and `previous` as they are.")


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"
    default_detail = _("The body is larger than any that makes sense here.")


def handle(exception: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's own handler, and a ``code`` in every body."""
    if isinstance(exception, LifecycleError):
        exception = Failed(exception)
    elif isinstance(exception, ObjectDoesNotExist):  # deleted just now
        exception = NotFound()
    elif isinstance(exception, (OperationalError, InterfaceError)):
        exception = unavailable(exception)
    response = exception_handler(exception, context)
    if response is None:
        return None
    if isinstance(exception, ValidationError):
        errors = list(_flatten(exception.detail))
        response.data = {**errors[0], "errors": errors}
    elif "code" not in response.data:
        detail = response.data["detail"]
        response.data = {"detail": detail, "code": detail.code}
        if (field := getattr(exception, "field", None)) is not None:
            response.data["field"] = field
    response.data = redact_value(response.data)  # a key where none belongs is not repeated
    return response


def _flatten(detail: Any, path: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Each sentence of DRF's nested errors, with its code and the dotted name of its field."""
    if isinstance(detail, ErrorDetail):
        field = ".".join(part for part in path if part != "non_field_errors")
        yield {"detail": str(detail), "code": detail.code, **({"field": field} if field else {})}
    elif isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _flatten(inner, (*path, str(name)))
    else:
        for index, inner in enumerate(detail):
            # A list of sentences of one field, or of what is wrong with each item.
            nested = path if isinstance(inner, ErrorDetail) else (*path, str(index))
            yield from _flatten(inner, nested)
