"""What processes that a test starts serve."""

from django.http import JsonResponse
from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView

from apikeys import http
from apikeys.cache import get_cache
from example_project.urls import urlpatterns as example


class Plain(APIView):
    """Who it is, and no query of the view's own."""

    required_scopes = ["payments:read"]

    def get(self, request):
        return Response({"id": request.auth.credential_id})


@http.require_scopes("payments:read")
async def plain_async(request):
    return JsonResponse({"id": request.auth.credential_id})


async def keeps_rows(request):
    """Whether this worker has found Redis, and so keeps what it looks up."""
    tracking = get_cache().tracking
    return JsonResponse({"code": None if tracking.is_current() else "not yet"})


urlpatterns = [
    path("plain/", Plain.as_view()),
    path("async/", plain_async),
    path("keeps-rows/", keeps_rows),
    *example,
]
