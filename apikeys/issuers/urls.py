"""The URL to which issuers send their logout tokens.

Mount it: ``path("issuers/", include("apikeys.issuers.urls"))``.
"""

from django.urls import path

from .logout import backchannel_logout

app_name = "apikeys_issuers"

urlpatterns = [path("backchannel-logout/", backchannel_logout, name="backchannel-logout")]
