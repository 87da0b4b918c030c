"""Open a page in the browser of this machine."""

import os
import shutil
import subprocess
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import LoginError

#: Text browsers take over the terminal, in which the program waits.
_TEXT_BROWSERS = ("browsh", "chawan", "elinks", "links", "links2", "lynx", "netrik", "w3m")


def open_page(url: str) -> None:
    """Open ``url`` in a graphical browser, if there is one. Do not wait for it."""
    if (browser := graphical_browser()) is not None:
        # Some browsers run in the foreground, so start them in a thread.
        threading.Thread(target=_open, args=(browser, url), daemon=True).start()


def graphical_browser() -> webbrowser.BaseBrowser | None:
    """Return the browser of the system or ``$BROWSER``; ``None`` without a graphical one."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return None
    return None if _is_text(browser) else browser


def text_browser() -> str | None:
    """Return the path of a text browser: ``$BROWSER`` if it is one, or the first installed."""
    given = shutil.which(os.environ.get("BROWSER", "").partition(" ")[0] or "-")
    if given is not None and Path(given).resolve().name in _TEXT_BROWSERS:
        return given
    return next(filter(None, map(shutil.which, _TEXT_BROWSERS)), None)


def open_in_terminal(url: str) -> "subprocess.Popen[bytes]":
    """Open ``url`` in a text browser, which has the terminal until the user quits it.

    Raise ``LoginError`` if none is installed.
    """
    if (browser := text_browser()) is None:
        raise LoginError("No text browser was found. Install one, such as w3m, or try --device.")
    return subprocess.Popen([browser, url])  # noqa: S603 - the URL of the site's metadata


def _open(browser: webbrowser.BaseBrowser, url: str) -> None:
    with suppress(Exception):
        browser.open(url)


def _is_text(browser: Any) -> bool:
    name = str(getattr(browser, "name", ""))
    found = shutil.which(name)  # may be a link, such as www-browser
    names = {Path(name).name, Path(found).resolve().name if found else ""}
    return not names.isdisjoint(_TEXT_BROWSERS)
