from django.urls import include, path
from rest_framework import serializers
from rest_framework.generics import ListCreateAPIView
from rest_framework.response import Response
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from apikeys.drf import BearerAuthentication, HasScope
from tests.project_user.shops.models import Order


class OrderBody(serializers.ModelSerializer):
    owner = serializers.HiddenField(default=serializers.CurrentUserDefault())

    class Meta:
        model = Order
        fields = ["name", "owner"]


class Orders(ListCreateAPIView):
    """As a site wrote it for its users."""

    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = ["payments:read"]
    serializer_class = OrderBody

    def get_queryset(self):
        return Order.objects.filter(owner=self.request.user)


class Once(UserRateThrottle):
    rate = "1/day"


class Throttled(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = ["payments:read"]
    throttle_classes = [Once]

    def get(self, request):
        return Response({"user": request.user.pk})


urlpatterns = [
    path("orders/", Orders.as_view()),
    path("throttled/", Throttled.as_view()),
    path("oauth/", include("apikeys.oauth.urls")),
    path("api/", include("apikeys.api.urls")),
    path("api/", include("apikeys.gateway.api_urls")),
]
