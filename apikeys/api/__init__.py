"""The JSON API to manage keys. Mount it: ``path("api/", include("apikeys.api.urls"))``.

``drf`` has the classes that protect your own API.
"""
