"""The payments API. Its views check scopes and never ask which kind of credential was sent."""

from decimal import Decimal
from typing import Any

from django.core.validators import ProhibitNullCharactersValidator
from django.db.models import Count, QuerySet, Sum
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import generics, serializers
from rest_framework.response import Response

from apikeys.drf import AuthorizedRequest, InsufficientScope
from apikeys.models import Membership, get_project_model

from .models import Payment


class Refusal(serializers.Serializer[dict[str, Any]]):
    """The body of a refusal: `detail` is a sentence, `code` never changes."""

    detail = serializers.CharField()
    code = serializers.CharField(required=False)


#: Refusals that every operation can return.
REFUSED = dict.fromkeys((401, 403, 503), Refusal)


class OwnProjectField(serializers.SlugRelatedField[Any]):
    """Accept the slug of a project that the caller can reach."""

    queryset = get_project_model()._default_manager.none()

    def get_queryset(self) -> QuerySet[Any]:
        projects: QuerySet[Any] = self.context["request"].auth.projects()
        return projects

    def to_internal_value(self, data: Any) -> Any:
        ProhibitNullCharactersValidator()(str(data))  # PostgreSQL rejects NUL in a query
        return super().to_internal_value(data)


class PaymentSerializer(serializers.ModelSerializer[Payment]):
    project = OwnProjectField(
        slug_field="slug",
        required=False,
        help_text="Required if you can make payments in more than one project.",
    )
    amount = serializers.DecimalField(
        max_digits=12,
        decimal_places=2,
        min_value=Decimal("0.01"),
        error_messages={
            "invalid": "Enter a number, such as 12.50.",
            "min_value": "Enter at least {min_value}.",
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
                raise serializers.ValidationError({"project": "Name the project that pays."})
            data["project"] = candidates[0]
        elif not payable.filter(pk=data["project"].pk).exists():
            # The credential has the scope, but the user's role in this project does not grant it.
            raise InsufficientScope("payments:write")
        return data


class PaymentQuerySet:
    """Limit payments to the caller's projects, so that others return 404."""

    def get_queryset(self) -> QuerySet[Payment]:
        projects = self.request.auth.projects("payments:read")  # type: ignore[attr-defined]
        return Payment.objects.filter(project__in=projects).select_related("project")


@extend_schema_view(
    get=extend_schema(
        summary="List payments", responses={200: PaymentSerializer(many=True), **REFUSED}
    ),
    post=extend_schema(
        summary="Make a payment",
        responses={201: PaymentSerializer, 400: OpenApiTypes.OBJECT, 415: Refusal, **REFUSED},
    ),
)
class PaymentList(PaymentQuerySet, generics.ListCreateAPIView[Payment]):
    """Payments of the projects that the caller reaches."""

    serializer_class = PaymentSerializer
    required_scopes = {"read": ["payments:read"], "write": ["payments:write"]}


@extend_schema(
    summary="Read a payment",
    responses={
        200: PaymentSerializer,
        404: Refusal,
        (404, "text/html"): OpenApiTypes.STR,  # Django's answer to an unknown URL
        **REFUSED,
    },
)
class PaymentDetail(PaymentQuerySet, generics.RetrieveAPIView[Payment]):
    """A payment of a project that the caller reaches."""

    serializer_class = PaymentSerializer
    required_scopes = ["payments:read"]


class ReportSerializer(serializers.Serializer[dict[str, Any]]):
    project = serializers.CharField(source="project__slug")
    currency = serializers.CharField()
    payments = serializers.IntegerField()
    total = serializers.DecimalField(max_digits=16, decimal_places=2)


class Report(generics.GenericAPIView[Any]):
    """Sum the payments of each of the caller's projects."""

    serializer_class = ReportSerializer
    pagination_class = None
    required_scopes = ["reports:read"]

    @extend_schema(summary="Sum payments", responses={200: ReportSerializer(many=True), **REFUSED})
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
        allow_null=True, help_text="The caller's role. Null for a project key."
    )
    may_pay = serializers.BooleanField()


class ProjectList(generics.GenericAPIView[Any]):
    """List the caller's projects and where the caller can make payments."""

    serializer_class = ProjectSerializer
    pagination_class = None
    required_scopes = ["payments:read"]

    @extend_schema(
        summary="List projects", responses={200: ProjectSerializer(many=True), **REFUSED}
    )
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
