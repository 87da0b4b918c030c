"""Facts, filters and form fields of keys, shared by the pages, the admin, the commands and the API.

``lifecycle`` creates and changes keys. ``verify`` verifies them.
"""
