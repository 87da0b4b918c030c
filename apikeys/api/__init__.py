"""The JSON API of keys themselves. Mount it: ``path("api/", include("apikeys.api.urls"))``."""
