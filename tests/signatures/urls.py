from django.http import JsonResponse
from django.urls import path
from ninja import NinjaAPI
from rest_framework.response import Response

from apikeys.drf import KeyThrottle
from apikeys.http import require_scopes
from apikeys.ninja import KeyAuth
from example_project.urls import urlpatterns as example
from tests.drf.conftest import View


class Echo(View):
    """Return who called, and the body."""

    required_scopes = ["payments:read"]
    throttle_classes = [KeyThrottle]

    def get(self, request, **kwargs):
        return Response({"who": str(request.user), "data": request.data})

    post = put = patch = delete = get


@require_scopes("payments:read")
def plain(request):
    return JsonResponse({"who": str(request.user)})


@require_scopes("payments:read")
async def plain_async(request):
    return JsonResponse({"who": str(request.user)})


ninja = NinjaAPI(urls_namespace="signatures")


@ninja.post("/echo", auth=KeyAuth("payments:read"))
def operation(request):
    return {"who": str(request.user)}


urlpatterns = [
    *example,
    path("echo/", Echo.as_view()),
    path("echo/<path:rest>", Echo.as_view()),
    path("plain/", plain),
    path("plain/async/", plain_async),
    path("ninja/", ninja.urls),
]
