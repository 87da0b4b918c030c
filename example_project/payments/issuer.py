"""Start the identity provider of `manage.py demo --issuer`, and trust it.

Its tokens act for users. It also signs tokens of CI jobs, which a project key of the demo trusts.
"""

import json
import secrets
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError
from django.test import Client

from .gateway import Example

#: The claim ``sub`` of ada at the provider.
_SUBJECT = "0b7c-ada"
#: The claims of a job of the repository that a project key trusts.
_JOB = {
    "sub": "repo:acme/payments:ref:refs/heads/main",
    "repository": "acme/payments",
    "repository_id": "1001",
    "ref": "refs/heads/main",
    "event_name": "push",
}
_KEY_NAME = "CI job without a secret"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523


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
            "SITE_URL": self.site,
            "ISSUERS": {self.base_url: {"AUDIENCES": [self.site]}},
            "WORKLOAD_ISSUERS": {self.ci_url: {"PRESET": "github"}},
        }
        from apikeys.conf import app_settings
        from apikeys.issuers.conf import issuers_settings
        from apikeys.workloads.conf import workload_settings

        for each in (app_settings, issuers_settings, workload_settings):
            each.reload()

    @property
    def ci_url(self) -> str:
        """The issuer of the tokens of CI jobs."""
        return f"{self.base_url}/ci"

    def link(self) -> None:
        """Link ada to her subject at the provider, whose port changes with every start."""
        from apikeys.issuers.models import Identity

        Identity.objects.filter(subject=_SUBJECT).delete()
        ada = get_user_model()._default_manager.get(username="ada")
        Identity.objects.create(issuer=self.base_url, subject=_SUBJECT, user=ada)
        self._fetch_keys()
        self._trust_job(ada)

    def _trust_job(self, ada: Any) -> None:
        """Create a project key that trusts the jobs of one repository."""
        from apikeys import lifecycle
        from apikeys.models import ProjectKey

        for key in ProjectKey.objects.filter(name=_KEY_NAME, revoked_at=None):
            lifecycle.revoke(key, reason="The demo was started again.")
        lifecycle.mint(
            project=ada.project_memberships.get().project,
            by=ada,
            name=_KEY_NAME,
            scopes=["payments:read"],
            trust={"issuer": self.ci_url, "claims": {"repository_id": 1001}},
        )

    def _exchange(self, assertion: str) -> str:
        """Return an access token for a job's token, as the token endpoint issues it."""
        url = urlsplit(self.site)
        answer = Client(SERVER_NAME=url.hostname, SERVER_PORT=str(url.port)).post(
            "/o/token/", {"grant_type": _GRANT, "assertion": assertion}
        )
        token: str = answer.json()["access_token"]
        return token

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
            "workload": self._sign_job(),
            "workload_access_token": self._exchange(self._sign_job()),
            "workload_of_another_repository": self._sign_job(repository_id="2002"),
        }

    def _sign_job(self, **changes: str) -> str:
        unique = {"jti": secrets.token_urlsafe(16)}
        return self.sign(**{**_JOB, "iss": self.ci_url, "aud": self.site, **unique, **changes})

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

    def exchange(title: str, status: int, name: str) -> Example:
        form = f"-d grant_type={_GRANT} -d assertion={tokens[name]}"
        return Example(title, status, f"{form} {site}/o/token/")

    another = "workload_of_another_repository"
    return [
        request("200: the provider's access token of ada:", 200, "access_token"),
        request("401: her access token for another API:", 401, "other_audience"),
        request("401: her ID token:", 401, "id_token"),
        exchange("200: a CI job exchanges its token, which works once:", 200, "workload"),
        request("200: a job uses what it got:", 200, "workload_access_token"),
        exchange("400: the same from another repository:", 400, another),
    ]
