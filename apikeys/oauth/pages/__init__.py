"""Settings pages: one's own OAuth clients, and the applications that one has authorised.

They stand beside the pages of keys (``apikeys.web``) and need them:
``path("settings/applications/", include("apikeys.oauth.pages.urls"))``.
"""
