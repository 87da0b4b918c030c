"""Settings pages for a user's OAuth clients, and for the applications that they authorized.

Mount them beside the settings pages of keys (``apikeys.web``), which they need:
``path("settings/applications/", include("apikeys.oauth.pages.urls"))``. The consent page of the
OAuth protocol is in ``apikeys.oauth.views``.
"""
