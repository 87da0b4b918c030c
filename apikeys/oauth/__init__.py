"""Accept OAuth tokens of django-oauth-toolkit (DOT) in the same header as keys.

This is a separate app. It registers itself with ``apikeys.verify``; the rest of ``apikeys``
never imports it.
"""
