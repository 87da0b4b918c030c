"""What processes that a test starts serve."""

from django.http import JsonResponse
from django.urls import path
from rest_framework.response import Response
from rest_framework.views import APIView

from apikeys import http
from example_project.urls import urlpatterns as example


class Plain(APIView):
    """Who it is, and no query of the view's own."""

    required_scopes = ["payments:read"]

    def get(self, request):
        return Response({"id": request.auth.credential_id})


@http.require_scopes("payments:read")
async def plain_async(request):
    return JsonResponse({"id": request.auth.credential_id})


urlpatterns = [path("plain/", Plain.as_view()), path("async/", plain_async), *example]
