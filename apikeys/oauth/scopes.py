"""OAuth's scopes are the site's scopes: ``SCOPES_BACKEND_CLASS``."""

from collections.abc import Mapping
from typing import Any

from oauth2_provider.scopes import BaseScopes

from ..scopes import declared, default


class Scopes(BaseScopes):
    """Set ``OAUTH2_PROVIDER["SCOPES_BACKEND_CLASS"]`` to ``"apikeys.oauth.scopes.Scopes"``."""

    def get_all_scopes(self) -> Mapping[str, str]:
        return declared()

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return list(declared())

    def get_default_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return default()
