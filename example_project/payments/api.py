"""The API: views ask who may do what, and do not care with which kind of credential."""

from decimal import Decimal
from typing import Any

from django.core.validators import ProhibitNullCharactersValidator
from django.db.models import Count, QuerySet, Sum
from rest_framework import generics, serializers
from rest_framework.response import Response

from apikeys.drf import AuthorizedRequest, InsufficientScope
from apikeys.models import Membership, get_project_model

from .models import Payment


class OwnProjectField(serializers.SlugRelatedField[Any]):
    """A project that the caller reaches; others do not exist for it."""

    queryset = get_project_model()._default_manager.none()

    def get_queryset(self) -> QuerySet[Any]:
        projects: QuerySet[Any] = self.context["request"].auth.projects()
        return projects

    def to_internal_value(self, data: Any) -> Any:
        ProhibitNullCharactersValidator()(str(data))  # PostgreSQL takes none in a query
        return super().to_internal_value(data)


class PaymentSerializer(serializers.ModelSerializer[Payment]):
    project = OwnProjectField(
        slug_field="slug",
        required=False,
        help_text="May be left out by a caller who can pay in one project only.",
    )
    amount = serializers.DecimalField(
        max_digits=12,
        decimal_places=2,
        min_value=Decimal("0.01"),
        error_messages={
            "invalid": "Write it as a number, like 12.50.",
            "min_value": "Pay at least {min_value}.",
        },
    )
    currency = serializers.RegexField("^[A-Z]{3}$", default="EUR")

    class Meta:
        model = Payment
        fields = ["number", "project", "amount", "currency", "description", "created_at"]
        read_only_fields = ["number", "created_at"]

    def validate(self, data: dict[str, Any]) -> dict[str, Any]:
        payable = self.context["request"].auth.projects("payments:write")
        if "project" not in data:
            candidates = list(payable[:2])
            if not candidates:
                raise InsufficientScope("payments:write")
            if len(candidates) > 1:
                raise serializers.ValidationError({"project": "Say which project pays."})
            data["project"] = candidates[0]
        elif not payable.filter(pk=data["project"].pk).exists():
            # The credential has the scope, but its user's role in this project does not.
            raise InsufficientScope("payments:write")
        return data


class PaymentQuerySet:
    """The payments of the caller's projects; somebody else's do not exist for it."""

    def get_queryset(self) -> QuerySet[Payment]:
        projects = self.request.auth.projects("payments:read")  # type: ignore[attr-defined]
        return Payment.objects.filter(project__in=projects).select_related("project")


class PaymentList(PaymentQuerySet, generics.ListCreateAPIView[Payment]):
    serializer_class = PaymentSerializer
    required_scopes = {"read": ["payments:read"], "write": ["payments:write"]}


class PaymentDetail(PaymentQuerySet, generics.RetrieveAPIView[Payment]):
    serializer_class = PaymentSerializer
    required_scopes = ["payments:read"]


class ReportSerializer(serializers.Serializer[dict[str, Any]]):
    project = serializers.CharField(source="project__slug")
    currency = serializers.CharField()
    payments = serializers.IntegerField()
    total = serializers.DecimalField(max_digits=16, decimal_places=2)


class Report(generics.GenericAPIView[Any]):
    """What each of the caller's projects paid."""

    serializer_class = ReportSerializer
    pagination_class = None
    required_scopes = ["reports:read"]

    def get(self, request: AuthorizedRequest) -> Response:
        rows = (
            Payment.objects.filter(project__in=request.auth.projects("reports:read"))
            .values("project__slug", "currency")
            .annotate(payments=Count("pk"), total=Sum("amount"))
            .order_by("project__slug", "currency")
        )
        return Response(self.get_serializer(rows, many=True).data)


class ProjectSerializer(serializers.Serializer[dict[str, Any]]):
    slug = serializers.CharField()
    name = serializers.CharField()
    role = serializers.CharField(
        allow_null=True, help_text="Of the caller; null for a project's key."
    )
    may_pay = serializers.BooleanField()


class ProjectList(generics.GenericAPIView[Any]):
    """The caller's projects, and in which of them it may make payments."""

    serializer_class = ProjectSerializer
    pagination_class = None
    required_scopes = ["payments:read"]

    def get(self, request: AuthorizedRequest) -> Response:
        auth = request.auth
        payable = set(auth.projects("payments:write").values_list("pk", flat=True))
        memberships = Membership.objects.filter(user=auth.user) if auth.user else ()
        roles = {each.project_id: each.role for each in memberships}
        rows = [
            {
                "slug": project.slug,
                "name": project.name,
                "role": roles.get(project.pk),
                "may_pay": project.pk in payable,
            }
            for project in auth.projects("payments:read")
        ]
        return Response(self.get_serializer(rows, many=True).data)
