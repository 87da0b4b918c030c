"""Template tags of the settings pages.

``web`` has the views and forms of these pages.
"""
