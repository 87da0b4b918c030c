"""URLs of the metadata documents that clients look up at the root (RFC 8414, RFC 9728).

Mount them there: ``path("", include("apikeys.oauth.well_known"))``. Each document has a second
URL, with the path of the issuer or of the resource after it.
"""

from django.urls import path

from .views.metadata import (
    OAuthProtectedResourceMetadataView,
    OAuthServerMetadataView,
    OpenIDConfigurationView,
)

_RESOURCE = ".well-known/oauth-protected-resource"
_SERVER = ".well-known/oauth-authorization-server"
_OPENID = ".well-known/openid-configuration"

urlpatterns = [
    path(_SERVER, OAuthServerMetadataView.as_view()),
    path(f"{_SERVER}/<path:issuer_path>", OAuthServerMetadataView.as_view()),
    path(_RESOURCE, OAuthProtectedResourceMetadataView.as_view()),
    path(f"{_RESOURCE}/<path:resource_path>", OAuthProtectedResourceMetadataView.as_view()),
    path(f"{_OPENID}/<path:issuer_path>", OpenIDConfigurationView.as_view()),
]
