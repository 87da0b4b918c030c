"""One view for each adapter, under the example's URLs: what tests of "everywhere" ask."""

from django.http import HttpResponse, JsonResponse
from django.urls import path
from ninja import NinjaAPI
from rest_framework.response import Response
from rest_framework.views import APIView

from apikeys.drf import BearerAuthentication, HasScope, KeyThrottle
from apikeys.http import require_scopes
from apikeys.ninja import KeyAuth
from example_project.urls import urlpatterns as example

SCOPE = "payments:read"


class View(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    throttle_classes = [KeyThrottle]
    required_scopes = [SCOPE]

    def get(self, request):
        return Response({"user": str(request.user)}, headers=_asked(request))


@require_scopes(SCOPE)
def plain(request):
    return JsonResponse({"user": str(request.user)}, headers=_asked(request))


@require_scopes(SCOPE)
async def plain_async(request):
    return JsonResponse({"user": str(request.user)}, headers=_asked(request))


def behind_middleware(request):
    """For ``BearerMiddleware``; says who sends the credential, if there is one."""
    access = getattr(request, "auth", None)
    return JsonResponse({"user": str(access and access.principal)}, headers=_asked(request))


ninja = NinjaAPI(urls_namespace="adapters")


@ninja.get("/sync", auth=KeyAuth(SCOPE))
def ninja_sync(request, response: HttpResponse):
    _set(response, _asked(request))
    return {"user": str(request.user)}


@ninja.get("/async", auth=KeyAuth(SCOPE))
async def ninja_async(request, response: HttpResponse):
    _set(response, _asked(request))
    return {"user": str(request.user)}


@ninja.get("/whole", auth=KeyAuth(SCOPE))
def ninja_whole(request):
    return JsonResponse({"user": str(request.user)}, headers=_asked(request))


def _asked(request):
    """The ``Cache-Control`` that the query asks for, as a view of a site would set it."""
    return {"Cache-Control": value} if (value := request.GET.get("cache")) else {}


def _set(response, headers):
    for name, value in headers.items():
        response[name] = value


#: Where each adapter guards a view of a site.
VIEWS = {
    "drf": "/drf/",
    "require_scopes": "/plain/",
    "require_scopes, async": "/plain-async/",
    "ninja": "/ninja/sync",
    "ninja, async": "/ninja/async",
    "ninja, a whole response": "/ninja/whole",
    "middleware": "/middleware/",
}

urlpatterns = [
    *example,
    path("drf/", View.as_view()),
    path("plain/", plain),
    path("plain-async/", plain_async),
    path("middleware/", behind_middleware),
    path("ninja/", ninja.urls),
]
