from django.urls import include, path

urlpatterns = [
    path("", include("example_project.urls")),
    path("keys/", include("apikeys.web.urls")),
    path("accounts/", include("allauth.account.urls")),
]
