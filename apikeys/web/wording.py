"""Errors of ``lifecycle`` in the words of the page, and the names of several keys."""

from collections.abc import Sequence
from typing import Any, Final

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from ..errors import LifecycleError
from ..models import AnyKey
from ..templatetags.apikeys_pages import quoted

_MOST_NAMES: Final = 5

#: What the pages of tokens say, by the code of the error.
_OF_TOKENS: Final[dict[str, Any]] = {
    "starts_after_expiry": _("The token must start before it expires."),
    "too_many_keys": _(
        "The limit on tokens is reached. Paused and pending tokens count. Revoke one first."
    ),
    "unknown_key": _("This token no longer exists."),
    "revoked_key": _("This token was revoked. Create a new one."),
    "expired_key": _("This token has expired. Create a new one."),
    "paused_key": _("This token is paused. Resume it first."),
    "held_key": _("A site admin paused this token. Ask a site admin to resume it."),
    "already_rotated": _("This token was already rotated. Use its successor."),
    "nothing_used": _(
        "This token used none of its permissions. Revoke or pause it if nothing needs it."
    ),
    "too_new": _(
        "This site has recorded the uses of this token for less than 7 days. Try again later."
    ),
    "nothing_unused": _("This token used all its permissions and projects."),
    "uses_changed": _(
        "The uses of this token have changed since you opened the page. Check the list again."
    ),
    "nothing_to_undo": _(
        "There is nothing to undo: 7 days have passed, or the token was edited since."
    ),
    "approval_required": _(
        "You cannot add permissions that need approval to an existing token, and cannot extend a "
        "token that waits for approval. Remove what you added, or create a new token and have it "
        "approved."
    ),
}


def message_of(error: LifecycleError, *, of_tokens: bool) -> str:
    """Return the message of ``error`` for a page of tokens or of project keys."""
    return str(_OF_TOKENS.get(error.code, error.message) if of_tokens else error.message)


def named(keys: Sequence[AnyKey]) -> str:
    """Return the names of ``keys`` in quotation marks; of many, the first and a number."""
    return listed([quoted(key.name) for key in keys])


def listed(labels: Sequence[str]) -> str:
    """Return ``labels`` in one text; of many, the first and a number."""
    names = ", ".join(labels[:_MOST_NAMES])
    if (rest := len(labels) - _MOST_NAMES) <= 0:
        return names
    text = ngettext("%(names)s and %(n)d more", "%(names)s and %(n)d more", rest)
    return text % {"names": names, "n": rest}
