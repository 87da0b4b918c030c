"""The errors of the JSON API, with the body ``{"detail", "code", "field"?}``."""

from collections.abc import Iterator
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist
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

from ..databases import unavailable
from ..drf.exceptions import refuse
from ..errors import LifecycleError
from ..redaction import redact_value

#: The HTTP status of each code of a ``LifecycleError``. All other codes have status 400.
STATUSES: Final = {
    # The caller asked for more than it may grant.
    "scope_not_grantable": status.HTTP_403_FORBIDDEN,
    "project_not_grantable": status.HTTP_403_FORBIDDEN,
    "outlives_credential": status.HTTP_403_FORBIDDEN,
    "network_not_grantable": status.HTTP_403_FORBIDDEN,
    "rate_limit_not_grantable": status.HTTP_403_FORBIDDEN,
    "resource_not_grantable": status.HTTP_403_FORBIDDEN,
    "approval_required": status.HTTP_403_FORBIDDEN,
    "held_key": status.HTTP_403_FORBIDDEN,
    "created_with_key": status.HTTP_403_FORBIDDEN,
    "unknown_key": status.HTTP_404_NOT_FOUND,
    "unknown_credential": status.HTTP_404_NOT_FOUND,
    # The state of the key, its owner or the credential does not allow it.
    "revoked_key": status.HTTP_409_CONFLICT,
    "expired_key": status.HTTP_409_CONFLICT,
    "paused_key": status.HTTP_409_CONFLICT,
    "already_rotated": status.HTTP_409_CONFLICT,
    "not_pending": status.HTTP_409_CONFLICT,
    "too_many_keys": status.HTTP_409_CONFLICT,
    "inactive_user": status.HTTP_409_CONFLICT,
    "inactive_project": status.HTTP_409_CONFLICT,
    "project_keys_disabled": status.HTTP_409_CONFLICT,
    "credential_changed": status.HTTP_409_CONFLICT,
    "rotate_instead": status.HTTP_409_CONFLICT,
    "nothing_used": status.HTTP_409_CONFLICT,
    "nothing_unused": status.HTTP_409_CONFLICT,
    "nothing_to_undo": status.HTTP_409_CONFLICT,
    "too_new": status.HTTP_409_CONFLICT,
    "uses_changed": status.HTTP_409_CONFLICT,
}

# The arguments of ``lifecycle`` that have another name in a request body, or no field there.
_FIELDS = {"overlap": "overlap_seconds", "user": None, "project": None}


class Failed(APIException):
    """Turn a ``LifecycleError`` into a response."""

    def __init__(self, error: LifecycleError) -> None:
        self.status_code = STATUSES.get(error.code, status.HTTP_400_BAD_REQUEST)
        super().__init__(error.message, error.code)
        self.field = _FIELDS.get(error.field, error.field) if error.field else None


class UserRequired(PermissionDenied):
    default_code = "user_required"
    default_detail = _(
        "A project key has no user, so it has no tokens. Use it to manage the keys of its "
        "project at projects/{slug}/keys/."
    )


class NotAManager(PermissionDenied):
    default_code = "may_not_manage_keys"
    default_detail = _("Your role in this project allows you to view keys, but not to manage them.")


class NotAnApprover(PermissionDenied):
    default_code = "may_not_approve"
    default_detail = _("You cannot approve this key.")


class RecentLoginRequired(PermissionDenied):
    default_code = "recent_login_required"
    default_detail = _("Log in again, then repeat the request.")


class InvalidIdempotencyKey(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "invalid_idempotency_key"
    default_detail = _(
        "Send an Idempotency-Key of 1 to 255 visible ASCII characters, such as a UUID."
    )


class IdempotencyKeyReused(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "idempotency_key_reused"
    default_detail = _(
        "This Idempotency-Key was used for another request. Use a new one for each request."
    )


class InvalidCursor(APIException):
    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "invalid_cursor"
    default_detail = _(
        "The cursor is invalid. Follow the `next` and `previous` links without changing them."
    )


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"
    default_detail = _("The request body is too large.")


def handle(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Return the response to ``exception``, with a ``code`` in its body.

    Return ``None`` for an error that DRF does not handle.
    """
    if isinstance(exception, LifecycleError):
        exception = Failed(exception)
    elif isinstance(exception, ObjectDoesNotExist):  # deleted during the request
        exception = NotFound()
    elif (refusal := unavailable.refusal(exception)) is not None:
        exception = refuse(refusal)
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
    response.data = redact_value(response.data)  # an error may quote a key from the request
    return response


def _flatten(detail: Any, path: tuple[str, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield each message of DRF's nested errors, with its code and the dotted field name."""
    if isinstance(detail, ErrorDetail):
        field = ".".join(part for part in path if part != "non_field_errors")
        yield {"detail": str(detail), "code": detail.code, **({"field": field} if field else {})}
    elif isinstance(detail, dict):
        for name, inner in detail.items():
            yield from _flatten(inner, (*path, str(name)))
    else:
        for index, inner in enumerate(detail):
            # A list of messages belongs to one field. A list of dicts has one dict per item.
            nested = path if isinstance(inner, ErrorDetail) else (*path, str(index))
            yield from _flatten(inner, nested)
