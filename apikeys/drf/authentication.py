from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request

from .. import acceptance, http, refusals
from ..access import Access
from ..conf import app_settings
from ..http.header import challenge, is_foreign
from ..http.hidden import empty_frames
from ..http.shared_caches import keep_out_of_site_cache
from ..refusals import Refused
from .defaults import check_declaration
from .exceptions import answer_errors, finish_answers, refusal_of, refuse
from .granted import BY_OTHERS
from .permissions import AnyScope
from .scoping import AUTHENTICATED, find_check, runs_permissions


class AuthorizedRequest(Request):
    """Type of the request in a view that requires a credential. Use it in annotations."""

    auth: Access


class BearerAuthentication(BaseAuthentication):
    """Accept a key, or an OAuth token if ``apikeys.oauth`` is installed (RFC 6750).

    Without ``Authorization``, accept a signed request (RFC 9421). See ``apikeys.signatures``.

    ``request.user`` is the user, or the ``ProjectUser`` of a project key; ``request.auth``
    is the ``Access``. A view whose permissions check no scope refuses every credential, unless
    it says ``required_scopes = []``. The view's ``accepts`` lists the kinds of credentials that
    it accepts.
    """

    def authenticate(self, request: Request) -> tuple[Any, Access] | None:
        view = (request.parser_context or {}).get("view")
        if view is not None:
            finish_answers(view)
        try:
            access = http.identify(request._request)
            accepts = getattr(view, "accepts", None)
            if access is not None and (accepts is not None or app_settings.ACCEPTS is not None):
                acceptance.check(access, accepts)
        except Refused as refused:
            # Not chained: its frames hold the credential, and error reports show frames.
            refusal = refused.refusal
        except BaseException as error:
            empty_frames(error)
            raise
        else:
            if access is None:
                return None
            keep_out_of_site_cache(request)  # a decorator of a view method sees DRF's request
            # The view may choose its permissions by caller and by authentication class.
            request.user, request.auth = access.principal, access
            request._authenticator = self  # type: ignore[attr-defined]
            # Lets HasScope notice a subclass that returns the user without the Access.
            request.__dict__[AUTHENTICATED] = True
            try:
                check = None if view is None else find_check(request, view)
                if check is None:
                    check_declaration(request, view, access)
                elif not isinstance(check, AnyScope):
                    request.__dict__[BY_OTHERS] = True
                answer_errors(view, access)
                # A view that overrides how permissions run may skip them.
                if (
                    check is not None
                    and not runs_permissions(view)
                    and not check.has_permission(request, view)
                ):
                    raise PermissionDenied(getattr(check, "message", None))
            except (AttributeError, TypeError) as error:
                if (found := refusal_of(error, view, access)) is None:
                    raise
                refusal = found
            else:
                return access.principal, access
        raise refuse(refusal)

    def authenticate_header(self, request: Request) -> str:
        return challenge(refusals.NOT_AUTHENTICATED, app_settings.REALM)


class PrefixedAuthentication(BearerAuthentication):
    """Accept only credentials that begin with ``PREFIX``, and leave all others to other classes.

    Use it beside a class that reads the same header, such as one of another package.
    """

    def authenticate(self, request: Request) -> tuple[Any, Access] | None:
        if not is_foreign(request._request):
            return super().authenticate(request)
        view = (request.parser_context or {}).get("view")
        if view is not None:
            finish_answers(view)
        return None
