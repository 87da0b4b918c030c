"""OAuth clients that people register themselves, on the pages or by a program (RFC 7591)."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from django.contrib.auth.hashers import check_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.dcr import IsAuthenticatedDCRPermission
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import get_application_model
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.utils import parse_bearer_token

from ..conf import app_settings
from ..refusals import Refused
from ..verify import verify
from ..web.sudo import get_sudo
from . import lifetimes
from .device import GRANT_TYPE as DEVICE
from .models import ClientSettings
from .targets import LOOPBACK

__all__ = ["OwnUserPermission"]

#: The grants that people's own clients may have, as django-oauth-toolkit stores them. A person
#: stands behind each; a program that acts for nobody is given a key, which has bounds.
DOT_GRANTS: Final = {"authorization_code": "authorization-code", DEVICE: DEVICE}
_MOST_URIS, _LONGEST_URI = 10, 500


class RegistrationError(ValueError):
    """``code`` is one of RFC 7591 section 3.2.2; ``field`` names what is at fault."""

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.field = code, message, field


def grant_types(user: Any) -> list[str]:
    """Those that ``user``'s clients may have, by their names in RFC 7591."""
    allowed = app_settings.POLICY.client_grant_types(user)
    return [name for name in DOT_GRANTS if name in allowed]


def check(application: Any, user: Any, *, grants: Sequence[str], is_new: bool = True) -> None:
    """Raises ``RegistrationError`` for a client that ``user`` may not have."""
    if not grants:
        raise RegistrationError(
            "invalid_client_metadata", _("Select at least one grant type."), "grant_types"
        )
    if unfit := [name for name in grants if name not in grant_types(user)]:
        message = _("These grant types are not for clients of your own: %(names)s.")
        raise RegistrationError(
            "invalid_client_metadata", message % {"names": ", ".join(unfit)}, "grant_types"
        )
    uris = application.redirect_uris.split()
    if "authorization_code" in grants and not uris:
        message = _("The authorization code grant needs at least one redirect URI.")
        raise RegistrationError("invalid_redirect_uri", message, "redirect_uris")
    if len(uris) > _MOST_URIS:
        message = _("At most %(most)d redirect URIs.") % {"most": _MOST_URIS}
        raise RegistrationError("invalid_redirect_uri", message, "redirect_uris")
    for uri in uris:
        if not is_redirect_uri(uri):
            message = _(
                "%(uri)s is no redirect URI: it takes https://…, or http://127.0.0.1/… for a "
                "program on one's own machine, without a fragment."
            )
            raise RegistrationError(
                "invalid_redirect_uri", message % {"uri": uri[:100]}, "redirect_uris"
            )
    most = app_settings.POLICY.most_clients(user)
    if is_new and most is not None:
        count = get_application_model()._default_manager.filter(user=user).count()
        if count >= most:
            message = _("You have %(count)d clients already, the most there may be.")
            raise RegistrationError("invalid_client_metadata", message % {"count": count})
    try:
        application.full_clean(exclude=["redirect_uris", "client_secret"])
    except ValidationError as error:
        # DOT takes a loopback's http for a mistake; the addresses were checked above.
        found = {k: v for k, v in error.message_dict.items() if k != "redirect_uris"}
        for field, texts in found.items():
            raise RegistrationError("invalid_client_metadata", " ".join(texts), field) from None


def is_redirect_uri(uri: str) -> bool:
    """https, or this machine's loopback (RFC 8252 section 7.3); never a wildcard or a fragment."""
    try:
        parts = urlsplit(uri)
        _port = parts.port
    except ValueError:
        return False
    if len(uri) > _LONGEST_URI or "#" in uri or "@" in parts.netloc or "*" in parts.netloc:
        return False
    if not uri.isprintable() or not uri.isascii() or set(uri) & set(' "<>\\^`{|}'):
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


@sensitive_variables("secret")
def save(application: Any, grants: Sequence[str], *, new_secret: bool) -> str | None:
    """Store a client that was checked. Returns its secret, which is kept nowhere, if it is new."""
    secret: str | None = None
    main, *others = sorted(grants, key=list(DOT_GRANTS).index)
    application.authorization_grant_type = DOT_GRANTS[main]
    if application.client_type == application.CLIENT_PUBLIC:
        if new_secret:
            application.client_secret = generate_client_secret()  # nobody's
    elif new_secret:
        application.client_secret = secret = generate_client_secret()
    with transaction.atomic():
        application.save()
        ClientSettings.objects.update_or_create(
            application=application, defaults={"grant_types": " ".join(others)}
        )
    return secret


@sensitive_variables("secret")
def rotate_secret(application: Any, overlap: timedelta) -> str:
    """Give a confidential client another secret; the old one stays good for ``overlap``."""
    secret: str = generate_client_secret()
    with transaction.atomic():
        ClientSettings.objects.update_or_create(
            application=application,
            defaults={
                "previous_secret": application.client_secret if overlap else "",
                "previous_secret_expires_at": timezone.now() + overlap if overlap else None,
            },
        )
        application.client_secret = secret
        application.save(update_fields=["client_secret", "updated"])
    return secret


@sensitive_variables("secret")
def is_previous_secret(application: Any, secret: str) -> bool:
    """Whether it is the one that was replaced, in the time that both are good."""
    found = ClientSettings.objects.filter(
        application=application, previous_secret_expires_at__gt=timezone.now()
    ).first()
    return found is not None and bool(
        found.previous_secret and check_password(secret, found.previous_secret)
    )


def grants_of(application: Any) -> list[str]:
    """The names in RFC 7591 of all grant types that a client has."""
    own = application.authorization_grant_type
    settings = getattr(application, "apikeys_settings", None)
    return [
        lifetimes.GRANT_TYPES.get(own, own),
        *(settings.grant_types.split() if settings else ()),
    ]


def has_active_owner(application: Any) -> bool:
    """Whether it is the site's own, or of somebody who was not deactivated."""
    return application.user_id is None or bool(application.user.is_active)


def has_grant(application: Any, name: str) -> bool:
    """Whether a client was given a grant type beside the one that DOT knows of."""
    extra: Iterable[str] = ClientSettings.objects.filter(application=application).values_list(
        "grant_types", flat=True
    )
    return any(name in names.split() for names in extra)


class OwnUserPermission(IsAuthenticatedDCRPermission):
    """Registration is for somebody who logged in recently, or an access token of theirs.

    The token needs the scope ``DCR_REGISTRATION_SCOPE``, and must not be held by a client
    that was itself registered so: a registered client registers no further ones.
    """

    @sensitive_variables()
    def has_permission(self, request: HttpRequest) -> bool:
        text = parse_bearer_token(request.META.get("HTTP_AUTHORIZATION", ""))
        if text is None:
            # The client's tokens outlive the session: not of one that somebody left open.
            return bool(super().has_permission(request)) and get_sudo().is_recent(request)
        try:
            access = verify(text, request)
        except Refused:
            return False
        application = get_application_model()
        held_by = access.client if isinstance(access.client, application) else None
        if held_by is None or held_by.registration_source == application.RegistrationSource.DCR:
            return False
        if access.user is None or not access.allows(oauth2_settings.DCR_REGISTRATION_SCOPE):
            return False
        request.user = access.user
        return True
