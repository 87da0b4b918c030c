"""Start the identity provider of `manage.py demo --issuer`, and trust it."""

import json
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError

from .gateway import Example

#: The claim ``sub`` of ada at the provider.
_SUBJECT = "0b7c-ada"


class IdentityProvider(AbstractContextManager["IdentityProvider"]):
    """A provider in another process, until the context ends. The site at ``site`` trusts it."""

    def __init__(self, site: str) -> None:
        self.site = site
        self._process = subprocess.Popen(
            [sys.executable, "-m", "example_project.provider"],
            cwd=settings.BASE_DIR,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.base_url = self._answer()
        if not self.base_url:
            raise CommandError(
                "The identity provider did not start. It needs joserfc: pip install "
                "'apikeys[issuers]'"
            )
        self._trust()

    def _trust(self) -> None:
        settings.DEBUG = True  # allows an issuer on this computer, over http
        settings.APIKEYS = {
            **settings.APIKEYS,
            "ISSUERS": {self.base_url: {"AUDIENCES": [self.site]}},
        }
        from apikeys.issuers.conf import issuers_settings

        issuers_settings.reload()

    def link(self) -> None:
        """Link ada to her subject at the provider, whose port changes with every start."""
        from apikeys.issuers.models import Identity

        Identity.objects.filter(subject=_SUBJECT).delete()
        ada = get_user_model()._default_manager.get(username="ada")
        Identity.objects.create(issuer=self.base_url, subject=_SUBJECT, user=ada)
        self._fetch_keys()

    def _fetch_keys(self) -> None:
        """Let this process fetch the provider's keys, so that no first request waits for them."""
        from apikeys.refusals import Refused
        from apikeys.verify import verify

        text = self.sign(sub=_SUBJECT, aud=self.site)
        for _ in range(100):
            try:
                verify(text)
            except Refused:
                time.sleep(0.2)
            else:
                return

    def sign(self, **claims: Any) -> str:
        """Return a token of the provider with these claims."""
        if self._process.stdin is None:
            raise RuntimeError("the identity provider has no standard input")
        self._process.stdin.write(json.dumps(claims) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the identity provider has no standard output")
        line: str = self._process.stdout.readline()
        return line.strip()

    def tokens(self) -> dict[str, str]:
        """Return tokens of the provider, by name."""
        ada: dict[str, Any] = {"sub": _SUBJECT, "azp": "webapp"}
        return {
            "access_token": self.sign(**ada, aud=self.site, scope="openid payments:read"),
            "other_audience": self.sign(
                **ada, aud="https://other.example.com", scope="openid payments:read"
            ),
            "id_token": self.sign(**ada, aud=self.site, nonce="n-0S6_WzA2Mj"),
        }

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.terminate()
        self._process.wait(5)
        if self._process.stdout is not None:
            self._process.stdout.close()


def examples(site: str, tokens: dict[str, str]) -> list[Example]:
    """Return requests with the provider's tokens, each with its expected status."""

    def request(title: str, status: int, name: str) -> Example:
        header = f"-H 'Authorization: Bearer {tokens[name]}'"
        return Example(title, status, f"{header} {site}/api/payments/1/")

    return [
        request("200: the provider's access token of ada:", 200, "access_token"),
        request("401: her access token for another API:", 401, "other_audience"),
        request("401: her ID token:", 401, "id_token"),
    ]
