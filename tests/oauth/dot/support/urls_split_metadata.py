from django.urls import include, path

urlpatterns = [
    path("", include("apikeys.oauth.well_known")),
    path("o/", include("apikeys.oauth.urls")),
]
