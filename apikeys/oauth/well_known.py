"""URLs of the metadata documents that clients look up at the root (RFC 8414, RFC 9728).

Mount them there: ``path("", include("apikeys.oauth.well_known"))``.
"""

from django.urls import path

from .views.metadata import OAuthProtectedResourceMetadataView, OAuthServerMetadataView

urlpatterns = [
    path(".well-known/oauth-authorization-server", OAuthServerMetadataView.as_view()),
    path(
        ".well-known/oauth-authorization-server/<path:issuer_path>",
        OAuthServerMetadataView.as_view(),
    ),
    path(".well-known/oauth-protected-resource", OAuthProtectedResourceMetadataView.as_view()),
]
