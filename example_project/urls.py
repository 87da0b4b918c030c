from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from .payments.views import ApiDocs, Login

urlpatterns = [
    path("", include("example_project.payments.urls")),
    path("api/", include("apikeys.api.urls")),
    path("api/", include("apikeys.gateway.api_urls")),
    path("gateway/", include("apikeys.gateway.urls")),
    path("issuers/", include("apikeys.issuers.urls")),
    path("settings/keys/", include("apikeys.web.urls")),
    path("settings/applications/", include("apikeys.oauth.pages.urls")),
    path("login/", Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", ApiDocs.as_view(), name="api-docs"),
    path("o/", include("apikeys.oauth.urls")),
    path("", include("apikeys.oauth.well_known")),
    path("admin/login/", Login.as_view()),
    path("admin/", admin.site.urls),
]
