"""The URLs of the settings pages: ``path("settings/keys/", include("apikeys.web.urls"))``."""

from django.urls import include, path, re_path

from .. import token
from .views import access, approvals, bulk, confirm, keys, lists, mint, unused, uses

app_name = "apikeys"

_ID = f"(?P<key_id>{token.ID_PATTERN})"

# The same pages for the user's tokens and for the keys of a project.
_keys = [
    path("", lists.KeyList.as_view(), name="keys"),
    path("activity/", lists.Activity.as_view(), name="activity"),
    path("revoke/", bulk.RevokeMany.as_view(), name="revoke_many"),
    path("pause/", bulk.PauseMany.as_view(), name="pause_many"),
    path("resume/", bulk.ResumeMany.as_view(), name="resume_many"),
    path("new/", mint.Mint.as_view(), name="mint"),
    re_path(rf"^{_ID}/$", keys.Key.as_view(), name="key"),
    re_path(rf"^{_ID}/edit/$", keys.Edit.as_view(), name="edit"),
    re_path(rf"^{_ID}/rotate/$", keys.Rotate.as_view(), name="rotate"),
    re_path(rf"^{_ID}/convert/$", keys.Convert.as_view(), name="convert"),
    re_path(rf"^{_ID}/keep-used/$", uses.KeepUsed.as_view(), name="keep_used"),
    re_path(rf"^{_ID}/undo/$", uses.Undo.as_view(), name="undo"),
    re_path(rf"^{_ID}/revoke/$", keys.Revoke.as_view(), name="revoke"),
    re_path(rf"^{_ID}/pause/$", keys.Pause.as_view(), name="pause"),
    re_path(rf"^{_ID}/resume/$", keys.Resume.as_view(), name="resume"),
]

urlpatterns = [
    *_keys,
    path("unused/", unused.UnusedList.as_view(), name="unused"),
    path("unused/revoke/", unused.RevokeUnused.as_view(), name="revoke_unused"),
    path("projects/", lists.ProjectList.as_view(), name="projects"),
    path("projects/<str:slug>/access/", access.AccessList.as_view(), name="access"),
    path("projects/<str:slug>/access/approval/", access.Rule.as_view(), name="access_rule"),
    re_path(
        rf"^projects/(?P<slug>[^/]+)/access/{_ID}/deny/$", access.Deny.as_view(), name="access_deny"
    ),
    re_path(
        rf"^projects/(?P<slug>[^/]+)/access/{_ID}/allow/$",
        access.Allow.as_view(),
        name="access_allow",
    ),
    path("projects/<str:slug>/", include(_keys)),
    path("approvals/", approvals.Approvals.as_view(), name="approvals"),
    path("approvals/decide/", approvals.DecideMany.as_view(), name="decide_many"),
    re_path(
        rf"^approvals/(?P<kind>{token.KIND_PATTERN})/{_ID}/$",
        approvals.Decide.as_view(),
        name="decide",
    ),
    path("confirm/", confirm.Confirm.as_view(), name="confirm"),
]
