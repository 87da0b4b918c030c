from debug_toolbar.toolbar import debug_toolbar_urls
from django.http import JsonResponse
from django.urls import include, path
from rest_framework.response import Response
from rest_framework.views import APIView

from apikeys.drf import BearerAuthentication, HasScope
from apikeys.http import require_scopes
from tests.sites.tools.models import Note
from tests.sites.urls import urlpatterns as common


class Notes(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = ["api:write"]

    def post(self, request):
        note = Note.objects.create(text=request.data["text"])
        return Response({"id": note.pk})


class Broken(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = ["api:read"]

    def get(self, request):
        raise LookupError("A fault of the site.")


@require_scopes("api:write")
def plain_note(request):
    return JsonResponse({"id": Note.objects.create(text="plain").pk})


urlpatterns = [
    *common,
    path("accounts/", include("allauth.urls")),
    path("metrics/", include("django_prometheus.urls")),
    path("notes/", Notes.as_view()),
    path("plain-note/", plain_note),
    path("broken/", Broken.as_view()),
    *debug_toolbar_urls(),
]
