"""The JSON API of bindings, for users with Django's permissions and for their credentials."""

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as ModelError
from django.db import IntegrityError
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _
from rest_framework import mixins, serializers
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.viewsets import GenericViewSet

from ..access import Access
from ..api.authentication import SessionAuthentication
from ..api.base import JSONView
from ..api.pagination import KeyPagination
from ..api.parameters import PageParameters
from ..api.serializers import Body, Text
from ..conf import slug_field
from ..databases import transactions
from ..drf import BearerAuthentication, HasScope
from ..drf.scoping import register
from ..models import get_project_model
from ..scopes import BINDINGS_READ, BINDINGS_WRITE
from .models import ExactCharField, ResourceBinding


class MayNotManageBindings(PermissionDenied):
    default_code = "may_not_manage_bindings"
    default_detail = _("You do not have permission to view or change bindings.")


class MayManageBindings(HasScope):
    """Require Django's permissions on ``ResourceBinding``. A project key has none of them."""

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return True  # users who manage bindings need not be members of the project

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        if isinstance(request.auth, Access) and request.auth.user is None:
            # With PROJECT_USER, `request.user` is a user, who may have permissions.
            raise MayNotManageBindings
        verbs = {"POST": "add", "DELETE": "delete"}
        verb = "view" if request.method in SAFE_METHODS else verbs.get(request.method or "", "")
        if not verb or request.user.has_perm(f"apikeys_gateway.{verb}_resourcebinding"):
            return True
        raise MayNotManageBindings


register(MayManageBindings)


class Unrestricted(BasePermission):
    """Refuse tokens that are restricted to selected projects: bindings concern all projects."""

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
        slug_field=slug_field(),
        queryset=get_project_model()._default_manager.all(),
        required=False,
        allow_null=True,
        help_text="A slug.",
    )

    class Meta:
        model = ResourceBinding
        fields = ["id", "user", "project", "kind", "identifier", "created_at"]
        read_only_fields = ["id", "created_at"]
        validators: list[Any] = []  # ``validate`` runs the model's validators

    def to_internal_value(self, data: Any) -> Any:
        for name in ("user", "project") if isinstance(data, dict) else ():
            if isinstance(data.get(name), str) and "\x00" in data[name]:
                message = _("Not found.")
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
    """Query parameters that filter the list. A binding must match all of them."""

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
        """Filter by the parameters of ``BindingParameters``."""
        parameters = BindingParameters(data=self.request.query_params.dict())
        parameters.is_valid(raise_exception=True)
        fields = {
            "user": f"user__{get_user_model().USERNAME_FIELD}",
            "project": f"project__{slug_field()}",
            "kind": "kind",
            "identifier": "identifier",
        }
        asked = parameters.validated_data
        return queryset.filter(**{fields[name]: asked[name] for name in fields if name in asked})

    def perform_create(self, serializer: Any) -> None:
        try:
            with transactions.atomic(ResourceBinding):
                serializer.save()
        except IntegrityError as error:  # another request created it meanwhile
            raise serializers.ValidationError(_("This binding already exists.")) from error
