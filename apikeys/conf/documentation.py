"""Name pages of the published documentation, such as in the hints of system checks."""

from typing import Final

#: The URL of the documentation of the newest release. It is also in the package's metadata.
DOCUMENTATION: Final = "https://apikeys.readthedocs.io/en/stable/"


def page(name: str, anchor: str = "") -> str:
    """Return the URL of a page, such as ``how-to/upgrade``, or of a heading of it."""
    return f"{DOCUMENTATION}{name}.html" + (f"#{anchor}" if anchor else "")
