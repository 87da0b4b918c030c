"""Show times in the reader's time zone, which the script of the pages stores in a cookie."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

COOKIE: Final = "apikeys_tz"
_LONGEST: Final = 64  # characters of a name


@contextmanager
def of_reader(request: HttpRequest) -> Iterator[None]:
    """Activate the time zone of the reader, unless the site has activated another one."""
    zone = _zone(request.COOKIES.get(COOKIE, ""))
    is_default = timezone.get_current_timezone_name() == timezone.get_default_timezone_name()
    if zone is None or not is_default or not settings.USE_TZ:
        yield
        return
    with timezone.override(zone):
        yield


def _zone(name: str) -> ZoneInfo | None:
    return _known(name) if 0 < len(name) <= _LONGEST else None


@lru_cache(maxsize=1024)
def _known(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # not a name of a time zone
        return None
