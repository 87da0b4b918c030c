from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("api/", include("apikeys.api.urls")),
    path("keys/", include("apikeys.web.urls")),
    path("admin/", admin.site.urls),
    path("clients/", include("apikeys.oauth.pages.urls")),
    path("accounts/", include("django.contrib.auth.urls")),
]
