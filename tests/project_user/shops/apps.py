from django.apps import AppConfig


class ShopsConfig(AppConfig):
    name = "tests.project_user.shops"
    label = "shops"
    default_auto_field = "django.db.models.BigAutoField"
