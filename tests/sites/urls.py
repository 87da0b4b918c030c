from django.contrib import admin
from django.http import JsonResponse
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.views import APIView

from apikeys.drf import BearerAuthentication, HasScope
from apikeys.http import require_scopes


class Who(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = ["api:read"]

    def get(self, request):
        return Response({"id": request.auth.credential_id, "user": str(request.user)})


@require_scopes("api:read")
def plain(request):
    return JsonResponse({"id": request.auth.credential_id})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("settings/keys/", include("apikeys.web.urls")),
    path("api/", include("apikeys.api.urls")),
    path("api/who/", Who.as_view()),
    path("api/plain/", plain),
]
