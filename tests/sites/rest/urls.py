from django.urls import include, path
from guardian.shortcuts import assign_perm, get_objects_for_user
from rest_framework.permissions import DjangoObjectPermissions
from rest_framework.routers import SimpleRouter
from rest_framework.serializers import CurrentUserDefault, HiddenField, ModelSerializer
from rest_framework.throttling import SimpleRateThrottle
from rest_framework.viewsets import ModelViewSet

from apikeys.drf import CredentialRateThrottle, HasScope
from tests.sites.rest.models import Note
from tests.sites.urls import urlpatterns as common


class NoteSerializer(ModelSerializer):
    owner = HiddenField(default=CurrentUserDefault())

    class Meta:
        model = Note
        fields = ["id", "text", "owner"]


class Notes(ModelViewSet):
    """As it was before the site had keys: for users alone."""

    serializer_class = NoteSerializer
    queryset = Note.objects.order_by("pk")
    filterset_fields = ["text"]
    ordering_fields = ["text"]

    def get_queryset(self):
        return get_objects_for_user(self.request.user, "rest.view_note", super().get_queryset())

    def perform_create(self, serializer):
        note = serializer.save()
        assign_perm("rest.view_note", self.request.user, note)


class Checked(Notes):
    """With the permissions of Django on each object."""

    permission_classes = [HasScope, DjangoObjectPermissions]


class Twice(CredentialRateThrottle):
    rate = "2/hour"
    scope = "twice"


class Rare(Notes):
    throttle_classes = [Twice]

    def get_queryset(self):
        return Note.objects.none()


assert issubclass(Twice, SimpleRateThrottle)
router = SimpleRouter()
router.register("notes", Notes)
router.register("checked", Checked, "checked")
router.register("rare", Rare, "rare")
urlpatterns = [*common, path("<version>/", include(router.urls))]
