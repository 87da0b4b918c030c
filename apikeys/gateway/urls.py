from django.urls import path, re_path

from .views import authorize

urlpatterns = [
    path("authorize/", authorize, name="apikeys-gateway-authorize"),
    re_path(r"^authorize(?P<rest>/.+)\Z", authorize),  # Envoy appends the original path
]
