"""Verify imported keys of another package in their old header, until a date (``LEGACY``).

The import itself is in ``apikeys.importing``.
"""
