from typing import Any, cast

from django.utils.decorators import method_decorator
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from ..databases.primary import reading_primary
from ..http.hidden import hidden
from ..limits import networks
from .exceptions import handle
from .parsers import JSONParser


@method_decorator(hidden, name="dispatch")
class JSONView(APIView):
    """Base class of the views of the JSON API: parser, renderer, error bodies and headers."""

    parser_classes = [JSONParser]
    renderer_classes = [JSONRenderer]
    metadata_class = None  # the OpenAPI document describes the API

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with networks.asked_from(request), reading_primary():
            return super().dispatch(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return handle

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return cast("Response", response)
