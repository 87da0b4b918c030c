from typing import Any, cast

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .. import networks
from .exceptions import handle
from .parsers import JSONParser


class JSONView(APIView):
    """What all views of the JSON API share: what they take, and how it is answered."""

    parser_classes = [JSONParser]
    renderer_classes = [JSONRenderer]
    metadata_class = None  # the OpenAPI document tells it better

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        with networks.asked_from(request):
            return super().dispatch(request, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return handle

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return cast("Response", response)
