"""What drf-spectacular says of ``BearerAuthentication``; imported where it is installed."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from .scoping import declared_scopes


class BearerAuthenticationScheme(OpenApiAuthenticationExtension):
    target_class = "apikeys.drf.authentication.BearerAuthentication"
    match_subclasses = True
    name = "bearerAuth"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A personal access token, a project key or an OAuth access token.",
        }

    def get_security_requirement(self, auto_schema: AutoSchema) -> dict[str, list[str]]:
        view = auto_schema.view
        return {self.name: list(declared_scopes(view.request, view))}
