"""The settings pages. Mount them: ``path("settings/keys/", include("apikeys.web.urls"))``."""
