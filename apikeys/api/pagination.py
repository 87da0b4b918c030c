from typing import Any

from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from .exceptions import InvalidCursor
from .parameters import PageParameters


class KeyPagination(CursorPagination):
    """List rows newest first. Primary keys only grow, so no page skips or repeats a row."""

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
        # DRF passes the position into the query unchecked. Only primary keys are valid.
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
        return []  # PageParameters describes them


def _is_key(position: Any) -> bool:
    text = str(position)
    return text.isascii() and text.isdigit() and len(text) < 19
