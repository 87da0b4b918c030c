"""URLs of the OAuth endpoints: django-oauth-toolkit's (DOT's) and this app's.

Mount them: ``path("o/", include("apikeys.oauth.urls"))``. They leave out DOT's pages on which
any user can register a client with any grant.
"""

from django.urls import URLPattern, path
from oauth2_provider import urls as dot

from ..databases.primary import reading_primary
from .views.authorize import AuthorizationView
from .views.device import (
    DeviceAuthorizationView,
    DeviceConfirmView,
    DeviceGrantStatusView,
    DeviceUserCodeView,
)
from .views.introspect import IntrospectTokenView
from .views.metadata import OAuthServerMetadataView, OpenIDConfigurationView
from .views.register import (
    DynamicClientRegistrationManagementView,
    DynamicClientRegistrationView,
)
from .views.revoke import RevokeTokenView
from .views.token import TokenView
from .views.userinfo import UserInfoView

app_name = "oauth2_provider"

_ours = [
    path("token/", TokenView.as_view(), name="token"),
    path("authorize/", AuthorizationView.as_view(), name="authorize"),
    path("introspect/", IntrospectTokenView.as_view(), name="introspect"),
    path("revoke_token/", RevokeTokenView.as_view(), name="revoke-token"),
    path("device-authorization/", DeviceAuthorizationView.as_view(), name="device-authorization"),
    path("device/", DeviceUserCodeView.as_view(), name="device"),
    path(
        "device-confirm/<slug:client_id>/<slug:user_code>",
        DeviceConfirmView.as_view(),
        name="device-confirm",
    ),
    path(
        "device-grant-status/<slug:client_id>/<slug:user_code>",
        DeviceGrantStatusView.as_view(),
        name="device-grant-status",
    ),
    path(
        ".well-known/oauth-authorization-server",
        OAuthServerMetadataView.as_view(),
        name="oauth-server-metadata",
    ),
    path(
        ".well-known/openid-configuration",
        OpenIDConfigurationView.as_view(),
        name="oidc-connect-discovery-info",
    ),
    path("userinfo/", UserInfoView.as_view(), name="user-info"),
]
_replaced = {pattern.name for pattern in _ours}


def _others(patterns: list[URLPattern]) -> list[URLPattern]:
    return [pattern for pattern in patterns if pattern.name not in _replaced]


def _from_primary(pattern: URLPattern) -> URLPattern:
    """Make the view read from the primary: a replica may lack a code that was just stored."""
    view = reading_primary()(pattern.callback)
    return URLPattern(pattern.pattern, view, pattern.default_args, pattern.name)


urlpatterns = [
    *_ours,
    path("register/", DynamicClientRegistrationView.as_view(), name="dcr-register"),
    path(
        "register/<str:client_id>/",
        DynamicClientRegistrationManagementView.as_view(),
        name="dcr-register-management",
    ),
    *_others(dot.base_urlpatterns),
    *(pattern for pattern in dot.oidc_urlpatterns if pattern.name == "jwks-info"),
]
urlpatterns = [_from_primary(pattern) for pattern in urlpatterns]
