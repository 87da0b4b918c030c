"""The example's URLs; tests add views of their own with ``@override_settings(ROOT_URLCONF=...)``."""

from example_project.urls import urlpatterns

__all__ = ["urlpatterns"]
