"""The bridge to django-oauth-toolkit: its tokens under the same header as keys."""
