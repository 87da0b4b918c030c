"""Parse JSON request bodies (RFC 8259), including malformed and hostile ones."""

import json
from collections.abc import Mapping
from typing import IO, Any, Final, NoReturn

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

from .exceptions import BodyTooLarge

#: The maximum size of a request body, in bytes.
MAX_BODY: Final = 64 * 1024


class JSONParser(BaseParser):
    """Parse JSON in UTF-8, and limit its size and depth. DRF's parser does not.

    Raise ``BodyTooLarge`` above ``MAX_BODY`` bytes and ``ParseError`` for invalid JSON.
    """

    media_type = "application/json"

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise BodyTooLarge
        try:
            return json.loads(body.decode(), parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise ParseError(
                _("The request body is not valid JSON: %(why)s.") % {"why": error}
            ) from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
