from typing import Any

from django.urls import URLPattern, path

from ..conf import app_settings
from .access_views import ProjectAccessViewSet
from .leaks import GitHub, Leaked
from .views import (
    ProjectKeyApprovals,
    ProjectKeyViewSet,
    TokenApprovals,
    TokenView,
    TokenViewSet,
)

_ACTIONS = ("rotate", "pause", "resume", "narrow", "undo-narrowing", "approve", "reject")


def _keys(prefix: str, name: str, view: Any) -> list[URLPattern]:
    key = f"{prefix}<str:id>/"
    one = {"get": "retrieve", "patch": "partial_update", "delete": "destroy"}
    return [
        path(prefix, view.as_view({"get": "list", "post": "create"}), name=f"{name}-list"),
        path(f"{prefix}audit/", view.as_view({"get": "audit"}), name=f"{name}-audit"),
        path(key, view.as_view(one), name=f"{name}-detail"),
        path(f"{key}uses/", view.as_view({"get": "uses"}), name=f"{name}-uses"),
        *(
            path(
                f"{key}{action}/",
                view.as_view({"post": action.replace("-", "_")}),
                name=f"{name}-{action}",
            )
            for action in _ACTIONS
        ),
    ]


urlpatterns = [
    path("leaked/", Leaked.as_view(), name="apikeys-leaked"),
    path("leaked/github/", GitHub.as_view(), name="apikeys-leaked-github"),
    path("token/", TokenView.as_view(), name="apikeys-token"),
    *_keys("tokens/", "apikeys-tokens", TokenViewSet),
    path(
        "approvals/tokens/",
        TokenApprovals.as_view({"get": "list"}),
        name="apikeys-token-approvals",
    ),
]

if app_settings.PROJECT_KEYS:  # the OpenAPI document lists only URLs of the site
    urlpatterns += [
        *_keys("projects/<str:slug>/keys/", "apikeys-project-keys", ProjectKeyViewSet),
        path(
            "projects/<str:slug>/access/",
            ProjectAccessViewSet.as_view({"get": "list"}),
            name="apikeys-project-access",
        ),
        *(
            path(
                f"projects/<str:slug>/access/<str:id>/{action}/",
                ProjectAccessViewSet.as_view({"post": action}),
                name=f"apikeys-project-access-{action}",
            )
            for action in ("deny", "allow")
        ),
        path(
            "approvals/keys/",
            ProjectKeyApprovals.as_view({"get": "list"}),
            name="apikeys-project-key-approvals",
        ),
    ]
