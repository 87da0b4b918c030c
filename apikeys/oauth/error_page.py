"""Explain an error of the authorization endpoint to the user, and what to do next.

Only errors that cannot be reported to the client reach the page: its ID or its redirect URI is
wrong, so the site must not send the user anywhere.
"""

from typing import Any, Final

from django.utils.translation import gettext_lazy as _

#: The problem and what the user can do, by the class of oauthlib's error.
_WORDS: Final[dict[str, tuple[Any, Any]]] = {
    "InvalidClientIdError": (
        _("This site does not know the application that sent you here."),
        _(
            "It may have been deleted, or it is set up for another site. Start again from the "
            "application, and contact its developer if this page appears again."
        ),
    ),
    "MismatchingRedirectURIError": (
        _("The application wants you to return to an address that it has not registered."),
        _(
            "Somebody else may have made the link that brought you here. Start again from the "
            "application, and contact its developer if this page appears again."
        ),
    ),
}
_WORDS["MissingClientIdError"] = _WORDS["InvalidClientIdError"]
for _name in ("MissingRedirectURIError", "InvalidRedirectURIError"):
    _WORDS[_name] = _WORDS["MismatchingRedirectURIError"]

_OTHER: Final = (
    _("The application sent a request that this site cannot answer."),
    _("Start again from the application, and contact its developer if this page appears again."),
)


def facts(error: Any) -> dict[str, Any]:
    """Return the template context for ``error``, an ``OAuth2Error``."""
    explanation, advice = _WORDS.get(type(error).__name__, _OTHER)
    return {"explanation": explanation, "advice": advice}
