"""Protect an API that checks no credentials itself, as forward authentication or as a proxy.

This app has the routes and bindings; ``apikeys.verify`` checks the credentials.
"""
