"""Decide whether ``MATCH``, which finds the user of a new identity, can be trusted."""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db.models import CharField, EmailField, TextField


class Fault(Enum):
    """Why a mapping is not trusted."""

    #: The field is not a text field of the user model.
    FIELD = auto()
    #: The claim is not the one for which the issuer says whether an e-mail address is verified.
    ADDRESS = auto()


def fault(match: Any) -> Fault | None:
    """Return why an entry with ``match`` must trust nothing, or ``None``."""
    if not isinstance(match, Mapping) or len(match) != 1:
        return None  # without MATCH; its form is checked elsewhere
    ((claim, field),) = match.items()
    if _text_field(field) is None:
        return Fault.FIELD
    return Fault.ADDRESS if is_email_field(field) and claim != "email" else None


def is_email(claim: str, field: str) -> bool:
    """Return whether a mapping relies on an e-mail address."""
    return claim == "email" or is_email_field(field)


def is_email_field(name: str) -> bool:
    """Return whether ``name`` is a field of the user model with an e-mail address."""
    field = _text_field(name)
    known = (getattr(get_user_model(), "EMAIL_FIELD", "email"), "email")
    return field is not None and (name in known or isinstance(field, EmailField))


def _text_field(name: Any) -> "CharField[Any, Any] | TextField[Any, Any] | None":
    try:
        field = get_user_model()._meta.get_field(str(name))
    except FieldDoesNotExist:
        return None
    if not isinstance(field, CharField | TextField) or field.primary_key:
        return None
    return field
