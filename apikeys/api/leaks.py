"""Receive reports of leaked keys: ``leaked/`` from anyone, ``leaked/github/`` from GitHub."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from .. import leaks
from ..conf import app_settings
from ..drf import refuse
from ..leaks import github
from ..refusals import Refused
from .base import JSONView
from .exceptions import BodyTooLarge

#: The maximum number of keys in one report.
MOST: Final = 100
#: The maximum size of a message from GitHub, in bytes.
MAX_PAYLOAD: Final = 2 * 1024 * 1024


class InvalidSignature(APIException):
    status_code = status.HTTP_401_UNAUTHORIZED
    default_code = "invalid_signature"
    default_detail = _("This message was not signed by GitHub.")


class KeysUnavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "keys_unavailable"
    default_detail = _("GitHub's public keys cannot be fetched right now. Try again in a moment.")
    wait = 60


class ReportError(ValidationError):
    default_detail = _(
        'Send {"token": "…"}, or {"tokens": ["…", …]} with up to 100 of them, as JSON.'
    )


class ReportView(JSONView):
    """Base class of both views. It requires no credential, and never repeats a reported key."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()

    @sensitive_variables("found")
    def report(self, found: Sequence[tuple[str, str]], **facts: Any) -> list[leaks.Report]:
        """Report the keys in ``found``, with the URL of each."""
        try:
            return leaks.report_all(found, **facts)
        except Refused as refused:
            refusal = refused.refusal
        raise refuse(refusal)


class Leaked(ReportView):
    """Revoke the keys in the body at once, and notify their owners.

    Anyone who has a key can report it, without another credential. The response lists the IDs
    of the revoked keys and the number of texts that are not keys of this site.
    """

    @method_decorator(sensitive_variables())
    def post(self, request: Request) -> Response:
        texts = self.texts(request.data)
        reports = self.report([(text, "") for text in texts], source="anybody")
        found = {each.key.public_id: each for each in reports if each.key is not None}
        answer = {
            "revoked": sorted(found),
            "unknown": sum(each.key is None for each in reports),
        }
        return Response(answer)

    @sensitive_variables("data", "given")
    def texts(self, data: Any) -> list[str]:
        given: Any = data
        if isinstance(data, dict):
            if len(data) != 1 or not set(data) <= {"token", "tokens"}:
                raise ReportError
            ((name, given),) = data.items()
            if name == "token":
                given = [given] if isinstance(given, str) else None
        if not isinstance(given, list) or not 0 < len(given) <= MOST:
            raise ReportError
        if not all(isinstance(text, str) for text in given):
            raise ReportError
        return [text.strip() for text in dict.fromkeys(given)]


class GitHub(ReportView):
    """Receive the alerts of GitHub's secret scanning. ``GITHUB_LEAK_ACTION`` revokes or warns.

    The response says for each token, by its SHA-256, whether it is a key of this site.
    """

    schema = None  # GitHub defines this protocol, so the OpenAPI document omits it
    parser_classes = []

    @method_decorator(sensitive_variables())
    def post(self, request: Request) -> Response:
        payload = request._request.read(MAX_PAYLOAD + 1)
        if len(payload) > MAX_PAYLOAD:
            raise BodyTooLarge
        headers = request.headers
        key_id = headers.get("Github-Public-Key-Identifier", "")
        signature = headers.get("Github-Public-Key-Signature", "")
        if not key_id or not signature:
            raise InvalidSignature
        try:
            signed = github.is_signed(payload, key_id, signature)
        except github.KeysUnavailable:
            signed = None
        if signed is None:
            raise KeysUnavailable
        if not signed:
            raise InvalidSignature
        revoke = app_settings.GITHUB_LEAK_ACTION == "revoke"
        found = self.matches(payload)
        urls = [(each["token"], str(each.get("url") or "")) for each in found]
        reports = [
            report
            for start in range(0, len(urls), MOST)
            for report in self.report(urls[start : start + MOST], source="GitHub", revoke=revoke)
        ]
        answer = [
            {
                "token_hash": hashlib.sha256(text.encode()).hexdigest(),
                "token_type": each["type"],
                "label": "false_positive" if report.key is None else "true_positive",
            }
            for each, (text, _url), report in zip(found, urls, reports, strict=True)
        ]
        return Response(answer)

    @sensitive_variables("payload", "found")
    def matches(self, payload: bytes) -> list[dict[str, Any]]:
        try:
            found = json.loads(payload)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, list) or not all(
            isinstance(each, dict)
            and isinstance(each.get("token"), str)
            and isinstance(each.get("type"), str)
            for each in found
        ):
            raise ParseError(_("Send a JSON list of objects with `token` and `type`."))
        return found
