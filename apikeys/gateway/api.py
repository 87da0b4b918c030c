"""The JSON API of bindings: for people whom Django's permissions let, and their credentials."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as ModelError
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from rest_framework import mixins, serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from ..api.authentication import SessionAuthentication
from ..api.base import JSONView
from ..api.pagination import KeyPagination
from ..api.serializers import Body, PageParameters, Text
from ..drf import BearerAuthentication, HasScope
from ..models import get_project_model
from ..scopes import BINDINGS_READ, BINDINGS_WRITE
from .models import ExactCharField, ResourceBinding


class MayNotManageBindings(PermissionDenied):
    default_code = "may_not_manage_bindings"
    default_detail = _("Only whom the site's permissions let may see or change bindings.")


class MayManageBindings(HasScope):
    """Django's permissions on ``ResourceBinding``; a project's key has none, whoever made it."""

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return True  # its keepers need not be members of the project that it is bound to

    def has_permission(self, request: Request, view: Any) -> bool:
        super().has_permission(request, view)
        verbs = {"POST": "add", "DELETE": "delete"}
        verb = "view" if request.method in SAFE_METHODS else verbs.get(request.method or "", "")
        if not verb or request.user.has_perm(f"apikeys_gateway.{verb}_resourcebinding"):
            return True
        raise MayNotManageBindings


class Unrestricted(BasePermission):
    """A token that is restricted to some projects does not decide about all of them."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if getattr(request.auth, "selected", None) is None:
            return True
        raise MayNotManageBindings


class BindingSerializer(serializers.ModelSerializer[ResourceBinding], Body):
    serializer_field_mapping = {
        **serializers.ModelSerializer.serializer_field_mapping,
        ExactCharField: Text,
    }
    user = serializers.SlugRelatedField(
        slug_field=get_user_model().USERNAME_FIELD,
        queryset=get_user_model()._default_manager.all(),
        required=False,
        allow_null=True,
        help_text="A username.",
    )
    project = serializers.SlugRelatedField(
        slug_field="slug",
        queryset=get_project_model()._default_manager.all(),
        required=False,
        allow_null=True,
        help_text="A slug.",
    )

    class Meta:
        model = ResourceBinding
        fields = ["id", "user", "project", "kind", "identifier", "created_at"]
        read_only_fields = ["id", "created_at"]
        validators: list[Any] = []  # the model's own, in ``validate``

    def to_internal_value(self, data: Any) -> Any:
        for name in ("user", "project") if isinstance(data, dict) else ():
            if isinstance(data.get(name), str) and "\x00" in data[name]:
                message = _("There is no such one.")
                raise serializers.ValidationError({name: [message]}, code="does_not_exist")
        return super().to_internal_value(data)

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        try:
            ResourceBinding(**data).full_clean()
        except ModelError as error:
            messages = error.message_dict
            if NON_FIELD_ERRORS in messages:
                messages["non_field_errors"] = messages.pop(NON_FIELD_ERRORS)
            raise serializers.ValidationError(messages) from error
        return data


class BindingParameters(PageParameters):
    """Which bindings to list: those of which all that is given is so."""

    user = serializers.CharField(required=False, help_text="A username.")
    project = serializers.CharField(required=False, help_text="A slug.")
    kind = serializers.CharField(required=False)
    identifier = serializers.CharField(required=False)


class BindingViewSet(
    JSONView,
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.DestroyModelMixin,
    mixins.ListModelMixin,
    GenericViewSet[ResourceBinding],
):
    authentication_classes = [BearerAuthentication, SessionAuthentication]
    permission_classes = [MayManageBindings, Unrestricted]
    required_scopes = {"read": [BINDINGS_READ], "write": [BINDINGS_WRITE]}
    pagination_class = KeyPagination
    filter_backends = ()
    serializer_class = BindingSerializer
    queryset = ResourceBinding.objects.select_related("user", "project")

    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """As ``BindingParameters`` say."""
        parameters = BindingParameters(data=self.request.query_params.dict())
        parameters.is_valid(raise_exception=True)
        fields = {
            "user": f"user__{get_user_model().USERNAME_FIELD}",
            "project": "project__slug",
            "kind": "kind",
            "identifier": "identifier",
        }
        asked = parameters.validated_data
        return queryset.filter(**{fields[name]: asked[name] for name in fields if name in asked})

    def perform_create(self, serializer: Any) -> None:
        try:
            with transaction.atomic():
                serializer.save()
        except IntegrityError as error:  # somebody else was faster
            raise serializers.ValidationError(_("It is there already.")) from error
