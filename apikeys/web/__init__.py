"""The settings pages. Mount them: ``path("settings/keys/", include("apikeys.web.urls"))``.

``lifecycle`` creates and changes the keys. ``apikeys.oauth.pages`` has the pages for OAuth.
"""
