from traceback import clear_frames
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from .. import http, refusals
from ..access import Access
from ..conf import app_settings
from ..header import challenge
from ..refusals import Refused
from .exceptions import refuse, scope_not_declared
from .scoping import checks_scope


class AuthorizedRequest(Request):
    """For annotations: the request in a view that nobody enters without a credential."""

    auth: Access


class BearerAuthentication(BaseAuthentication):
    """Takes a key, or an OAuth token where ``apikeys.oauth`` is installed (RFC 6750).

    Without ``Authorization`` it takes a signed request (RFC 9421), see ``apikeys.signatures``.

    ``request.user`` is the user, or the ``ProjectUser`` of a project key; ``request.auth``
    is the ``Access``. A view whose permissions check no scope refuses every credential.
    """

    def authenticate(self, request: Request) -> tuple[Any, Access] | None:
        try:
            access = http.authenticate(request._request)
        except Refused as refused:
            # Not from it: its frames hold the credential, and error reports show frames.
            refusal = refused.refusal
        except BaseException as error:
            forget(error)
            raise
        else:
            if access is None:
                return None
            # The view may choose its permissions by who it is.
            request.user, request.auth = access.principal, access
            view = (request.parser_context or {}).get("view")
            if view is None or not checks_scope(request, view):
                raise scope_not_declared(request, view)
            return access.principal, access
        raise refuse(refusal)

    def authenticate_header(self, request: Request) -> str:
        return challenge(refusals.NOT_AUTHENTICATED, app_settings.REALM)


def forget(error: BaseException | None) -> None:
    """Empty the frames that held the credential: with ``DEBUG`` on, error pages show them."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
