"""Mount it where you like: ``path("settings/keys/", include("apikeys.web.urls"))``."""

from django.urls import include, path, re_path

from . import views

app_name = "apikeys"

_ID = "(?P<key_id>[0-9a-z]{16})"

# The same pages for one's own tokens, and for the keys of a project.
_keys = [
    path("", views.KeyList.as_view(), name="keys"),
    path("new/", views.Mint.as_view(), name="mint"),
    re_path(rf"^{_ID}/$", views.Key.as_view(), name="key"),
    re_path(rf"^{_ID}/edit/$", views.Edit.as_view(), name="edit"),
    re_path(rf"^{_ID}/rotate/$", views.Rotate.as_view(), name="rotate"),
    re_path(rf"^{_ID}/revoke/$", views.Revoke.as_view(), name="revoke"),
]

urlpatterns = [
    *_keys,
    path("projects/", views.ProjectList.as_view(), name="projects"),
    path("projects/<str:slug>/", include(_keys)),
    path("approvals/", views.Approvals.as_view(), name="approvals"),
    re_path(rf"^approvals/(?P<kind>pat|key)/{_ID}/$", views.Decide.as_view(), name="decide"),
    path("confirm/", views.Confirm.as_view(), name="confirm"),
]
