"""Describe views to drf-spectacular: how they authenticate, and the scopes that they require.

Imported only if drf-spectacular is installed.
"""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema

from ..legacy import schemes
from .defaults import effective_scopes
from .scoping import refuses_all


class BearerAuthenticationScheme(OpenApiAuthenticationExtension):
    target_class = "apikeys.drf.authentication.BearerAuthentication"
    match_subclasses = True

    @property
    def name(self) -> list[str]:  # type: ignore[override]
        """The bearer scheme, and each further header that may carry a key."""
        return ["bearerAuth", *schemes.headers()]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        bearer = {
            "type": "http",
            "scheme": "bearer",
            "description": "A personal access token, a project key or an OAuth access token.",
        }
        others = [
            {"type": "apiKey", "in": "header", "name": name, "description": "A key."}
            for name in schemes.headers()
        ]
        return [bearer, *others]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        view = auto_schema.view
        if refuses_all(view):
            return []
        scopes = list(effective_scopes(view.request, view))
        # OpenAPI 3.0 allows no scopes for a scheme of the type `apiKey`.
        others: list[dict[str, list[str]]] = [{name: []} for name in schemes.headers()]
        return [{"bearerAuth": scopes}, *others]


def show_scopes(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Say in the description of each operation which scopes it requires.

    A hook for ``SPECTACULAR_SETTINGS["POSTPROCESSING_HOOKS"]``: viewers such as Swagger UI show
    the scopes of OAuth schemes only.
    """
    for operations in result.get("paths", {}).values():
        for operation in operations.values():
            for requirement in operation.get("security", ()):
                if names := requirement.get("bearerAuth"):
                    scopes = ", ".join(f"`{name}`" for name in names)
                    text = f"{operation.get('description', '')}\n\nRequires {scopes}."
                    operation["description"] = text.strip()
    return result
