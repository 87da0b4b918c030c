"""The documents by which clients find their way, where they look for them.

Mount it at the root: ``path("", include("apikeys.oauth.well_known"))``.
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
