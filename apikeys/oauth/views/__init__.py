"""Views of the OAuth endpoints, built on django-oauth-toolkit's views.

The rules that they enforce are in the other modules of ``apikeys.oauth``.
"""
