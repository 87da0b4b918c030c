"""django-oauth-toolkit's endpoints and ours.

Mount it: ``path("o/", include("apikeys.oauth.urls"))``. DOT's pages on which any user
registers a client with any grant are not among them.
"""

from django.urls import URLPattern, path
from oauth2_provider import urls as dot

from .views.introspect import IntrospectTokenView
from .views.revoke import RevokeTokenView
from .views.token import TokenView

app_name = "oauth2_provider"

_ours = [
    path("token/", TokenView.as_view(), name="token"),
    path("introspect/", IntrospectTokenView.as_view(), name="introspect"),
    path("revoke_token/", RevokeTokenView.as_view(), name="revoke-token"),
]
_replaced = {pattern.name for pattern in _ours}


def _others(patterns: list[URLPattern]) -> list[URLPattern]:
    return [pattern for pattern in patterns if pattern.name not in _replaced]


urlpatterns = [
    *_ours,
    *_others(dot.metadata_urlpatterns),
    *_others(dot.base_urlpatterns),
    *(pattern for pattern in dot.oidc_urlpatterns if pattern.name == "jwks-info"),
]
