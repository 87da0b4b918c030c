"""Links from the settings pages of keys to the pages of OAuth."""

from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _


def authorized() -> tuple[Any, str] | None:
    """Return the label and the URL of the authorized applications, if the page is mounted."""
    try:
        return _("Authorized applications"), reverse("apikeys_oauth:authorized")
    except NoReverseMatch:
        return None
