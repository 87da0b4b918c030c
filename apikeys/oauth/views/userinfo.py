from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from oauth2_provider import views

from ...access import OAUTH
from ...http import require_scopes
from ..scopes import OPENID, is_openid_declared
from .token import ENDPOINT


class UserInfoView(views.UserInfoView):
    """Return the claims of the token's user (OpenID Connect Core section 5.3).

    The token is checked like at any other view of the site.
    """

    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not is_openid_declared():
            raise Http404
        # Not as a decorator: most sites do not declare this scope.
        guarded = require_scopes(OPENID, accepts=[OAUTH])(super().dispatch)
        response: HttpResponse = guarded(request, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response
