"""The example's URLs; a test adds views of its own with ``override_settings``."""

from example_project.urls import urlpatterns

__all__ = ["urlpatterns"]
