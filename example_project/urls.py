from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView
from oauth2_provider import urls as oauth2

urlpatterns = [
    path("", include("example_project.payments.urls")),
    path("api/", include("apikeys.api.urls")),
    path("api/", include("apikeys.gateway.api_urls")),
    path("gateway/", include("apikeys.gateway.urls")),
    path("settings/keys/", include("apikeys.web.urls")),
    path("login/", LoginView.as_view(template_name="payments/login.html"), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    # Not its pages on which any user registers a client with any grant.
    path("o/", include((oauth2.metadata_urlpatterns + oauth2.base_urlpatterns, "oauth2_provider"))),
    path("admin/", admin.site.urls),
]
