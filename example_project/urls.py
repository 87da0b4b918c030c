from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

urlpatterns = [
    path("", include("example_project.payments.urls")),
    path("api/", include("apikeys.api.urls")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("o/", include("apikeys.oauth.urls")),
    path("admin/", admin.site.urls),
]
