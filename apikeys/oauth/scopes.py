"""OAuth's scopes are the site's scopes: ``SCOPES_BACKEND_CLASS``."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext
from oauth2_provider.scopes import BaseScopes

from ..scopes import declared
from .consent import registration_scope


class Scopes(BaseScopes):
    """Set ``OAUTH2_PROVIDER["SCOPES_BACKEND_CLASS"]`` to ``"apikeys.oauth.scopes.Scopes"``."""

    def get_all_scopes(self) -> Mapping[str, str]:
        if (registration := registration_scope()) is None:
            return declared()
        return {**declared(), registration: gettext("Register a program that acts for you")}

    def get_available_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        # A client that was itself registered by a program registers no further ones.
        registers = application is None or application.registration_source != "dcr"
        return list(self.get_all_scopes() if registers and application else declared())

    def get_default_scopes(
        self, application: Any = None, request: Any = None, *args: Any, **kwargs: Any
    ) -> list[str]:
        return list(declared())
