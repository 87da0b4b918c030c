from django.urls import path, re_path

from .views import authorize, preflight

urlpatterns = [
    path("preflight/", preflight, name="apikeys-gateway-preflight"),
    path("authorize/", authorize, name="apikeys-gateway-authorize"),
    re_path(r"^authorize(?P<rest>/.+)\Z", authorize),  # Envoy appends the original path
]
