from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from .exceptions import InvalidCursor
from .serializers import PageParameters


class KeyPagination(CursorPagination):
    """Newest first. Primary keys grow, so no page misses or repeats a key."""

    ordering = "-pk"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 100

    def get_page_size(self, request: Request) -> int:
        parameters = PageParameters(data=request.query_params.dict())
        parameters.is_valid(raise_exception=True)
        return int(parameters.validated_data.get("page_size", self.page_size))

    def decode_cursor(self, request: Request) -> Cursor | None:
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise InvalidCursor from None
        # A position goes into a query as it is; ours are primary keys.
        if cursor is not None and cursor.position is not None and not _is_key(cursor.position):
            raise InvalidCursor
        return cursor

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        described = super().get_paginated_response_schema(schema)
        described["required"] = ["next", "previous", "results"]
        for name in ("next", "previous"):
            described["properties"][name]["example"] = "https://example.com/?cursor=cD00Mg%3D%3D"
        return described

    def get_schema_operation_parameters(self, view: Any) -> list[Any]:
        return []  # PageParameters tells them


def _is_key(position: Any) -> bool:
    text = str(position)
    return text.isascii() and text.isdigit() and len(text) < 19
