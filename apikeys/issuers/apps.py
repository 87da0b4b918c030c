from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ApiKeysIssuersConfig(AppConfig):
    name = "apikeys.issuers"
    label = "apikeys_issuers"
    verbose_name = _("API keys: trusted issuers")
    default_auto_field = "django.db.models.BigAutoField"
