from django.contrib import admin
from django.contrib.auth.views import LoginView
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

urlpatterns = [
    path("", include("example_project.payments.urls")),
    path("api/", include("apikeys.api.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("o/", include("apikeys.oauth.urls")),
    path("", include("apikeys.oauth.well_known")),
    path("accounts/login/", LoginView.as_view(), name="login"),
    path("admin/", admin.site.urls),
]
