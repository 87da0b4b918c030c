"""Log in with a browser on another device (RFC 8628)."""

import time
from collections.abc import Callable
from typing import Any

from .client import Client, OAuth2Error, printable, refused
from .errors import LoginError, Unavailable

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_LONGEST_PAUSE = 60  # maximum seconds between two polls of a site that does not answer


class Device:
    """A response of the device authorization endpoint (section 3.2). Raises ``LoginError``."""

    def __init__(self, answer: dict[str, Any]) -> None:
        try:
            self.code, self.user_code, self.url = (
                printable(answer[name]) for name in ("device_code", "user_code", "verification_uri")
            )
            self.lifetime = float(answer["expires_in"])
            self.interval = max(float(answer.get("interval") or 5), 1.0)
        except (KeyError, TypeError, ValueError):
            raise LoginError("The site did not return a device code.") from None

    def poll(self, client: Client, url: str, sleep: Callable[[float], None]) -> dict[str, Any]:
        """Poll until the tokens are granted, and return them (section 3.5)."""
        end = time.monotonic() + self.lifetime
        interval, pause = self.interval, self.interval
        unanswered: Unavailable | None = None
        while (left := end - time.monotonic()) > 0:
            sleep(min(pause, left))
            try:
                return client.fetch(url, grant_type=GRANT, device_code=self.code)
            except OAuth2Error as error:
                if error.error == "slow_down":
                    interval += 5
                elif error.error != "authorization_pending":
                    raise refused(error) from None
                pause, unanswered = interval, None
            except Unavailable as error:
                # The user may have approved already, so continue until the code expires.
                unanswered = error
                pause = max(min(2 * pause, max(_LONGEST_PAUSE, interval)), error.retry_after)
        raise unanswered or LoginError("The code has expired. Try again.")
