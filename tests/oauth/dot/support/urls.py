from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("o/", include("apikeys.oauth.urls")),
    path("", include("apikeys.oauth.well_known")),
    path("admin/", admin.site.urls),
]
