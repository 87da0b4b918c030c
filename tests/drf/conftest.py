import pytest
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from apikeys.drf import BearerAuthentication, HasScope


class View(APIView):
    """Answers every method, if the permissions let it."""

    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]

    def get(self, request, **kwargs):
        return Response({"user": str(request.user)})

    post = put = patch = delete = get


@pytest.fixture
def call(db):
    """Calls a view with these attributes as ``token`` and returns the rendered response."""

    def call(token=None, method="GET", view=View, actions=None, user=None, **attributes):
        cls = type("Example", (view,), attributes)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        request = APIRequestFactory().generic(method, "/", headers=headers)
        if user is not None:
            force_authenticate(request, user=user)
        response = (cls.as_view(actions) if actions else cls.as_view())(request)
        return response.render()

    return call
