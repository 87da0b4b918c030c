"""End the tokens of a user who logs out at the issuer (OpenID Connect Back-Channel Logout 1.0)."""

from collections.abc import Mapping
from typing import Any, Final

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST

from .. import refusals
from ..databases import unavailable
from ..databases.primary import reading_primary
from ..http.hidden import hidden
from ..refusals import Refusal, Refused
from . import denials, tokens
from .conf import issuers_settings
from .denials import What

EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
#: Section 2.4: the type is recommended, so older issuers write another one.
_TYPES: Final = ("logout+jwt", "jwt", "")


@csrf_exempt
@login_not_required
@hidden
@require_POST
def backchannel_logout(request: HttpRequest) -> HttpResponse:
    """Refuse the tokens of a session, or of a user, that were issued before the logout.

    Respond with 200, or with 400 and ``{"error", "error_description", "code"}``.
    """
    sent = request.POST.getlist("logout_token")
    try:
        with reading_primary():
            if len(sent) != 1:
                raise Refused(refusals.MALFORMED_TOKEN)
            end(sent[0])
    except Refused as refused:
        return _refuse(refused.refusal)
    except Exception as error:
        if (refusal := unavailable.refusal(error)) is None:
            raise
        return _refuse(refusal)
    return HttpResponse(headers={"Cache-Control": "no-store"})


@sensitive_variables("text")
def end(text: str) -> None:
    """Validate a logout token and deny what it ends. Raise ``Refused``."""
    claims = read(text)
    issuer, until = claims["iss"], denials.issued_at(claims)
    if "sid" not in claims:
        denials.deny(What.SUBJECT, issuer, claims["sub"], until=until)
        return
    denials.deny(What.SESSION, issuer, claims["sid"], until=denials.LOGGED_OUT)
    if "sub" in claims:
        denials.deny(What.NO_SESSION, issuer, claims["sub"], until=until)


@sensitive_variables("text")
def read(text: str) -> Mapping[str, Any]:
    """Return the claims of a valid logout token (section 2.6). Raise ``Refused``."""
    url = tokens.claimed_issuer(text)
    issuer = issuers_settings.ISSUERS.get(url or "")
    if issuer is None:
        raise Refused(refusals.UNTRUSTED_ISSUER)
    claims = tokens.read(text, issuer, audiences=issuer.logout_client_ids, types=_TYPES)
    events = claims.get("events")
    if not isinstance(events, Mapping) or not isinstance(events.get(EVENT), Mapping):
        raise Refused(refusals.TOKEN_TYPE_NOT_ACCEPTED)
    if "nonce" in claims:  # section 2.4: so that no ID token is taken for a logout token
        raise Refused(refusals.ID_TOKEN_NOT_ACCEPTED)
    named = [claims[name] for name in ("sub", "sid") if name in claims]
    if "iat" not in claims or "jti" not in claims or not named:
        raise Refused(refusals.MISSING_CLAIM)
    if not all(isinstance(each, str) and each for each in named):
        raise Refused(refusals.MALFORMED_TOKEN)
    return claims


def _refuse(refusal: Refusal) -> HttpResponse:
    is_away = refusal.status >= 500
    body = {
        "error": "temporarily_unavailable" if is_away else "invalid_request",
        "error_description": str(refusal.message),
        "code": refusal.code,
    }
    headers = {"Cache-Control": "no-store"}
    if refusal.retry_after:
        headers["Retry-After"] = str(refusal.retry_after)
    return JsonResponse(body, status=refusal.status if is_away else 400, headers=headers)
