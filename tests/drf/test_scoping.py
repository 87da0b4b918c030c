"""Which scopes a view declares for a request."""

import pytest
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from apikeys.drf import BearerAuthentication, HasScope
from apikeys.drf.scoping import required_scopes
from tests.factories import mint_pat


class Declares:
    def __init__(self, declared):
        self.required_scopes = declared


@pytest.mark.parametrize(
    ("declared", "method", "act", "expected"),
    [
        (["a"], "GET", None, ("a",)),
        ("a b", "GET", None, ("a", "b")),
        ({"read": ["r"], "write": ["w"]}, "GET", None, ("r",)),
        ({"read": ["r"], "write": ["w"]}, "HEAD", None, ("r",)),
        ({"read": ["r"], "write": ["w"]}, "OPTIONS", None, ("r",)),
        ({"read": ["r"], "write": ["w"]}, "POST", None, ("w",)),
        ({"read": ["r"], "write": ["w"]}, "DELETE", None, ("w",)),
        ({"read": ["r"], "write": ["w"]}, "PROPFIND", None, ("w",)),
        ({"read": ["r"]}, "POST", None, ()),
        ({"read": "r"}, "GET", None, ("r",)),
        ({"GET": ["g"], "read": ["r"]}, "GET", None, ("g",)),
        ({"get": ["g"]}, "GET", None, ("g",)),
        ({"GET": ["g"]}, "HEAD", None, ("g",)),
        ({"GET": ["g"], "HEAD": ["h"]}, "HEAD", None, ("h",)),
        ({"GET": ["g"]}, "POST", None, ()),
        ({"list": ["l"], "GET": ["g"]}, "GET", "list", ("l",)),
        ({"list": ["l"], "GET": ["g"]}, "GET", "retrieve", ("g",)),
        ({"list": ["l"]}, "GET", "retrieve", ()),
        # An entry that says nothing is not passed over for a weaker one.
        ({"refund": [], "write": ["w"]}, "POST", "refund", ()),
        ({"refund": None, "write": ["w"]}, "POST", "refund", ()),
    ],
)
def test_precedence(declared, method, act, expected):
    assert required_scopes(Declares(declared), method, act) == expected


class Payments(ViewSet):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = {
        "list": ["payments:read"],
        "create": ["payments:write"],
        "refund": ["payments:write", "reports:read"],
    }

    def list(self, request):
        return Response({})

    def create(self, request):
        return Response({})

    retrieve = create

    @action(detail=False, methods=["post"])
    def refund(self, request):
        return Response({})


@pytest.mark.parametrize(
    ("actions", "method", "scopes", "status"),
    [
        ({"get": "list"}, "GET", ["payments:read"], 200),
        ({"get": "list"}, "HEAD", ["payments:read"], 200),
        ({"get": "list"}, "GET", ["reports:read"], 403),
        ({"get": "list", "post": "create"}, "POST", ["payments:read"], 403),
        ({"get": "list", "post": "create"}, "POST", ["payments:write"], 200),
        ({"post": "refund"}, "POST", ["payments:write"], 403),
        ({"post": "refund"}, "POST", ["payments:write", "reports:read"], 200),
        ({"get": "retrieve"}, "GET", ["payments:read", "payments:write", "reports:read"], 403),
        ({"get": "list"}, "PUT", ["payments:read"], 405),
    ],
)
def test_a_viewset_by_action(call, actions, method, scopes, status):
    token = mint_pat(scopes=scopes).token
    assert call(token, method=method, view=Payments, actions=actions).status_code == status


def test_the_refusal_names_the_action(call):
    response = call(mint_pat().token, view=Payments, actions={"get": "retrieve"})
    assert response.data["code"] == "scope_not_declared"
    assert "Example.retrieve declares no scope for GET" in response.data["detail"]
