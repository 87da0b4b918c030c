from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

urlpatterns = [
    path("", include("example_project.payments.urls")),
    path("api/", include("apikeys.api.urls")),
    path("api/", include("apikeys.gateway.api_urls")),
    path("gateway/", include("apikeys.gateway.urls")),
    path("settings/keys/", include("apikeys.web.urls")),
    path("settings/applications/", include("apikeys.oauth.pages.urls")),
    path("login/", LoginView.as_view(template_name="payments/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("o/", include("apikeys.oauth.urls")),
    path("", include("apikeys.oauth.well_known")),
    path("admin/", admin.site.urls),
]
