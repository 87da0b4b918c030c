"""Where found keys are reported: ``leaked/`` by anybody, ``leaked/github/`` by GitHub."""

import hashlib
import json
from typing import Any, Final

from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response

from .. import github, leaks
from ..conf import app_settings
from ..drf import refuse
from ..refusals import Refused
from .base import JSONView
from .exceptions import BodyTooLarge

#: Keys in one report.
MOST: Final = 100
#: Bytes, of a message of GitHub's.
MAX_PAYLOAD: Final = 2 * 1024 * 1024


class InvalidSignature(APIException):
    status_code = status.HTTP_401_UNAUTHORIZED
    default_code = "invalid_signature"
    default_detail = _("This message was not signed by GitHub.")


class KeysUnavailable(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "keys_unavailable"
    default_detail = _("The keys that the message was signed with cannot be had just now.")
    wait = 60


class ReportError(ValidationError):
    default_detail = _(
        'Send {"token": "…"}, or {"tokens": ["…", …]} with up to 100 of them, as JSON.'
    )


class ReportView(JSONView):
    """What both have in common: no credential, no echo, nothing kept."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    throttle_classes = ()

    @sensitive_variables("text")
    def report(self, text: str, **facts: Any) -> leaks.Report:
        try:
            return leaks.report(text, **facts)
        except Refused as refused:
            refusal = refused.refusal
        raise refuse(refusal)


class Leaked(ReportView):
    """Revokes the keys that are presented, at once; their owners are told.

    Whoever holds a key may: no other credential is asked for. The answer names the keys by
    their ids, and says how many texts are none of this site's keys.
    """

    @method_decorator(sensitive_variables())
    def post(self, request: Request) -> Response:
        texts = self.texts(request.data)
        reports = [self.report(text, source="anybody") for text in texts]
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
    """GitHub's secret scanning: revokes or warns, as ``GITHUB_LEAK_ACTION`` says.

    The answer says of each token whether it was a true one, by its SHA-256.
    """

    schema = None  # GitHub's protocol, for GitHub alone
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
        answer = []
        for found in self.matches(payload):
            text = found["token"]
            report = self.report(
                text, source="GitHub", url=str(found.get("url") or ""), revoke=revoke
            )
            answer.append(
                {
                    "token_hash": hashlib.sha256(text.encode()).hexdigest(),
                    "token_type": found["type"],
                    "label": "false_positive" if report.key is None else "true_positive",
                }
            )
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
            raise ParseError(_("The message is not a list of tokens with their types."))
        return found
