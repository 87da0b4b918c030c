from django.urls import path

from .api import BindingViewSet

urlpatterns = [
    path(
        "bindings/",
        BindingViewSet.as_view({"get": "list", "post": "create"}),
        name="apikeys-bindings-list",
    ),
    path(
        "bindings/<str:pk>/",
        BindingViewSet.as_view({"get": "retrieve", "delete": "destroy"}),
        name="apikeys-bindings-detail",
    ),
]
