"""Validate the metadata of a key: a JSON object of up to 4 KB (RFC 8259)."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from django.utils.translation import gettext as _

from .. import token
from ..errors import LifecycleError
from . import cleaning

#: Bytes of the compact JSON in UTF-8.
MOST: Final = 4096
#: How deep objects and lists may be nested, with the object itself.
DEPTH: Final = 8

_MOST_INTEGER: Final = 2**53 - 1  # all readers of JSON know these exactly (RFC 8259 section 6)


def clean(given: Any) -> dict[str, Any]:
    """Return a copy of ``given``, a JSON object. ``None`` is an empty one.

    Raises ``LifecycleError`` (``invalid_metadata``, ``metadata_too_large``, ``secret_in_text``).
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise _invalid(_('The metadata must be a JSON object, such as {"team": "billing"}.'))
    cleaned: dict[str, Any] = _cleaned(given, 1)
    text = json.dumps(cleaned, ensure_ascii=False, separators=(",", ":"))
    if (size := len(text.encode())) > MOST:
        message = _("The metadata has %(size)d bytes as JSON. At most %(most)d are stored.")
        words = {"size": size, "most": MOST}
        raise LifecycleError("metadata_too_large", message % words, "metadata")
    return cleaned


def _cleaned(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if abs(value) <= _MOST_INTEGER:
            return int(value)
        raise _invalid(_("The metadata has a number that is too large. Write it as text."))
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise _invalid(_("The metadata has a number that JSON does not know."))
    if not isinstance(value, Mapping | list | tuple):
        raise _invalid(_("The metadata has a value that is not JSON."))
    if depth > DEPTH:
        message = _("The metadata is nested too deeply. At most %(most)d levels are stored.")
        raise _invalid(message % {"most": DEPTH})
    if len(value) > MOST:  # each member has at least a byte
        raise LifecycleError("metadata_too_large", _("The metadata is too large."), "metadata")
    if not isinstance(value, Mapping):
        return [_cleaned(each, depth + 1) for each in value]
    if not all(isinstance(name, str) for name in value):
        raise _invalid(_("The names in the metadata must be text."))
    return {_text(name): _cleaned(each, depth + 1) for name, each in value.items()}


def _text(text: str) -> str:
    if not cleaning.is_text(text):
        raise _invalid(_("The metadata contains a character that cannot be displayed."))
    if token.holds_key(text):
        message = _("The metadata contains a key. Enter the key's ID instead.")
        raise LifecycleError("secret_in_text", message, "metadata")
    return str(text)


def _invalid(message: str) -> LifecycleError:
    return LifecycleError("invalid_metadata", message, "metadata")
