from django.db.transaction import non_atomic_requests
from django.urls import path

from . import authorized, views

app_name = "apikeys_oauth"

# Views that end many rows take several short transactions, also with ATOMIC_REQUESTS.
urlpatterns = [
    path("", authorized.Authorized.as_view(), name="authorized"),
    path("<int:pk>/", authorized.Narrow.as_view(), name="narrow"),
    path("<int:pk>/revoke/", authorized.Leave.as_view(), name="leave"),
    path("own/", views.ClientList.as_view(), name="clients"),
    path("own/new/", views.Register.as_view(), name="register"),
    path("own/<int:pk>/", views.Edit.as_view(), name="client"),
    path("own/<int:pk>/secret/", views.Rotate.as_view(), name="rotate"),
    path(
        "own/<int:pk>/revoke/",
        non_atomic_requests(views.RevokeUsers.as_view()),
        name="revoke-users",
    ),
    path("own/<int:pk>/delete/", non_atomic_requests(views.Delete.as_view()), name="delete"),
]
