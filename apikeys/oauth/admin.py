from ..admin.sites import manages
from ..admin.theme import ModelAdmin
from .models import TokenLifetime


@manages(TokenLifetime)
class TokenLifetimeAdmin(ModelAdmin):
    list_display = ("application", "grant_type", "access_token_seconds", "refresh_token_seconds")
    list_select_related = ("application",)
    raw_id_fields = ("application",)
