from rest_framework.response import Response
from rest_framework.views import APIView

from ..drf import AnyScope, AuthorizedRequest, BearerAuthentication
from .serializers import AccessSerializer


class TokenView(APIView):
    """Who the caller is: the facts of the credential that the request was made with."""

    authentication_classes = [BearerAuthentication]
    permission_classes = [AnyScope]
    serializer_class = AccessSerializer

    def get(self, request: AuthorizedRequest) -> Response:
        return Response(request.auth.facts(), headers={"Cache-Control": "no-store"})
