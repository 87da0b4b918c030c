"""Settings of groups of tests, by the names that the tests use."""

from django.conf import settings

DEFAULT_SCOPES_RW = {"DEFAULT_SCOPES": ["read", "write"]}
DEFAULT_SCOPES_RO = {"DEFAULT_SCOPES": ["read"]}
ALLOWED_SCHEMES_DEFAULT = {"ALLOWED_SCHEMES": ["https"]}
ALLOWED_SCHEMES_HTTP = {"ALLOWED_SCHEMES": ["https", "http"]}

_SCOPES = {"read": "Reading scope", "write": "Writing scope"}

OIDC_SETTINGS_RW = DEFAULT_SCOPES_RW | {
    "OIDC_ENABLED": True,
    "OIDC_ISS_ENDPOINT": "http://localhost/o",
    "OIDC_USERINFO_ENDPOINT": "http://localhost/o/userinfo/",
    "OIDC_RSA_PRIVATE_KEY": settings.OIDC_RSA_PRIVATE_KEY,
    "OIDC_RSA_PRIVATE_KEYS_INACTIVE": settings.OIDC_RSA_PRIVATE_KEYS_INACTIVE,
    "SCOPES": _SCOPES | {"openid": "OpenID connect"},
    "PKCE_REQUIRED": False,
    "REFRESH_TOKEN_EXPIRE_SECONDS": 3600,
}
OIDC_SETTINGS_RO = OIDC_SETTINGS_RW | DEFAULT_SCOPES_RO
OIDC_SETTINGS_EMAIL_SCOPE = OIDC_SETTINGS_RW | {
    "SCOPES": OIDC_SETTINGS_RW["SCOPES"] | {"email": "return email address"}
}
OIDC_SETTINGS_HS256_ONLY = {
    name: value for name, value in OIDC_SETTINGS_RW.items() if name != "OIDC_RSA_PRIVATE_KEY"
}
_LOGOUT = "OIDC_RP_INITIATED_LOGOUT_"
OIDC_SETTINGS_RP_LOGOUT = OIDC_SETTINGS_RW | {
    f"{_LOGOUT}ENABLED": True,
    f"{_LOGOUT}ALWAYS_PROMPT": False,
}
OIDC_SETTINGS_RP_LOGOUT_STRICT_REDIRECT_URI = OIDC_SETTINGS_RP_LOGOUT | {
    f"{_LOGOUT}STRICT_REDIRECT_URIS": True
}
OIDC_SETTINGS_RP_LOGOUT_DENY_EXPIRED = OIDC_SETTINGS_RP_LOGOUT | {
    f"{_LOGOUT}ACCEPT_EXPIRED_TOKENS": False
}
OIDC_SETTINGS_RP_LOGOUT_KEEP_TOKENS = OIDC_SETTINGS_RP_LOGOUT | {f"{_LOGOUT}DELETE_TOKENS": False}
OIDC_SETTINGS_RP_REGISTRATION = OIDC_SETTINGS_RW | {
    "OIDC_RP_INITIATED_REGISTRATION_ENABLED": True,
    "OIDC_RP_INITIATED_REGISTRATION_URL": "/accounts/signup/",
}
REST_FRAMEWORK_SCOPES = {
    "SCOPES": _SCOPES | {"scope1": "One", "scope2": "Two", "resource1": "A resource"}
}
INTROSPECTION_SETTINGS = {
    "SCOPES": _SCOPES | {"introspection": "Introspection", "dolphin": "Another scope"},
    "RESOURCE_SERVER_INTROSPECTION_URL": "http://example.org/introspection",
    "READ_SCOPE": "read",
    "WRITE_SCOPE": "write",
}
DCR_SETTINGS = {
    "SCOPES": _SCOPES,
    "READ_SCOPE": "read",
    "WRITE_SCOPE": "write",
    "DCR_ENABLED": True,
    "DCR_REGISTRATION_PERMISSION_CLASSES": ("oauth2_provider.dcr.IsAuthenticatedDCRPermission",),
    "DCR_REGISTRATION_SCOPE": "oauth2_provider:registration",
    "ALLOWED_REDIRECT_URI_SCHEMES": ["https", "http"],
}
