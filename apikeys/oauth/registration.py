"""Register and edit OAuth clients of users, on the settings pages or by RFC 7591."""

from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.dcr import IsAuthenticatedDCRPermission
from oauth2_provider.generators import generate_client_secret
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    set_token_value,
)
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.utils import parse_bearer_token

from .. import moments
from ..databases import transactions, unavailable
from ..limits import attempts, networks
from ..models import naming
from ..models.owners import is_active
from ..policy import get_policy
from ..refusals import Refused
from ..verify import verify
from ..web.sudo import get_sudo
from . import client_secrets, consent, lifetimes, own_clients
from .conf import oauth_settings
from .device import GRANT_TYPE as DEVICE
from .models import ClientSettings
from .scopes import Scopes
from .signals import client_secret_rotated
from .targets import LOOPBACK

__all__ = ["AnyonePermission", "OwnUserPermission"]

#: Maps the grant types that a user's client may have to the names that django-oauth-toolkit
#: stores. Each of them gives tokens for a user: the one who logged in, or the client's owner.
DOT_GRANTS: Final = {
    "authorization_code": "authorization-code",
    DEVICE: DEVICE,
    own_clients.GRANT: "client-credentials",
}
MOST_URIS: Final = 10
_LONGEST_URI: Final = 500
#: Maximum number of clients that one address (or one IPv6 /64) can register in ``WINDOW``
#: seconds without a user.
FROM_ADDRESS: Final = 50
WINDOW: Final = 60 * 60


class RegistrationError(ValueError):
    """The metadata of a client is invalid.

    ``code`` is an error code of RFC 7591 section 3.2.2; ``field`` names the invalid field.
    """

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.field = code, message, field


def grant_types(user: Any) -> list[str]:
    """Return the grant types that ``user``'s clients may have, by their names in RFC 7591.

    Pass ``None`` for an anonymous visitor of a site that lets anyone register a client.
    """
    allowed = get_policy().client_grant_types(AnonymousUser() if user is None else user)
    without_owner = {own_clients.GRANT} if user is None else set()
    return [name for name in DOT_GRANTS if name in allowed and name not in without_owner]


def check(application: Any, user: Any, *, grants: Sequence[str], is_new: bool = True) -> None:
    """Raise ``RegistrationError`` unless ``user`` may register or change this client."""
    if not grants:
        raise RegistrationError(
            "invalid_client_metadata", _("Select at least one grant type."), "grant_types"
        )
    if unfit := [name for name in grants if name not in grant_types(user)]:
        message = _("You cannot use these grant types: %(names)s.")
        raise RegistrationError(
            "invalid_client_metadata", message % {"names": ", ".join(unfit)}, "grant_types"
        )
    if not naming.is_readable(application.name):
        message = _(
            "Enter a name with a visible character and without characters that change the text "
            "direction."
        )
        raise RegistrationError("invalid_client_metadata", message, "name")
    if own_clients.GRANT in grants and application.client_type != application.CLIENT_CONFIDENTIAL:
        message = _("The client credentials grant needs a confidential client, with a secret.")
        raise RegistrationError("invalid_client_metadata", message, "grant_types")
    uris = application.redirect_uris.split()
    if "authorization_code" in grants and not uris:
        message = _("The authorization code grant needs at least one redirect URI.")
        raise RegistrationError("invalid_redirect_uri", message, "redirect_uris")
    if len(uris) > MOST_URIS:
        message = _("Enter at most %(most)d redirect URIs.") % {"most": MOST_URIS}
        raise RegistrationError("invalid_redirect_uri", message, "redirect_uris")
    for uri in uris:
        if not is_redirect_uri(uri):
            message = _(
                "%(uri)s is not a valid redirect URI. Use https://…, or http://127.0.0.1/… for a "
                "desktop program, without a fragment."
            )
            raise RegistrationError(
                "invalid_redirect_uri", message % {"uri": uri[:100]}, "redirect_uris"
            )
    most = get_policy().most_clients(user) if user is not None else None
    if is_new and most is not None:
        count = get_application_model()._default_manager.filter(user=user).count()
        if count >= most:
            message = _("You already have %(count)d clients, which is the maximum.")
            raise RegistrationError("invalid_client_metadata", message % {"count": count})
    try:
        application.full_clean(exclude=["redirect_uris", "client_secret"])
    except ValidationError as error:
        # DOT refuses http on the loopback; the redirect URIs were checked above.
        found = {k: v for k, v in error.message_dict.items() if k != "redirect_uris"}
        for field, texts in found.items():
            raise RegistrationError("invalid_client_metadata", " ".join(texts), field) from None


def is_redirect_uri(uri: str) -> bool:
    """Return whether ``uri`` is https, or http on the loopback (RFC 8252 section 7.3).

    Refuses wildcards and fragments.
    """
    if len(uri) > _LONGEST_URI:  # the time to parse a host grows with the square of its length
        return False
    try:
        parts = urlsplit(uri)
        _port = parts.port
    except ValueError:
        return False
    if "#" in uri or "@" in parts.netloc or "*" in parts.netloc:
        return False
    if not uri.isprintable() or not uri.isascii() or set(uri) & set(' "<>\\^`{|}'):
        return False
    if parts.scheme == "https":
        return bool(parts.hostname)
    return parts.scheme == "http" and parts.hostname in LOOPBACK


def are_redirect_uris(uris: Sequence[str]) -> bool:
    """Return whether a client can have these redirect URIs."""
    return len(uris) <= MOST_URIS and all(map(is_redirect_uri, uris))


def are_too_many(request: HttpRequest) -> bool:
    """Count a client that registers without a user. Return whether it must be refused."""
    most = oauth_settings.MOST_CLIENTS_WITHOUT_USER
    if most is not None and unowned().count() >= most:
        return True
    address = networks.counted(networks.client_ip(request))
    return attempts.count(f"register:{address}", WINDOW).number > FROM_ADDRESS


def unowned() -> Any:
    """Return the clients that registered themselves without a user."""
    model = get_application_model()
    return model._default_manager.filter(user=None).exclude(
        registration_source=model.RegistrationSource.MANUAL
    )


@sensitive_variables()
def save(
    application: Any,
    grants: Sequence[str],
    *,
    new_secret: bool,
    grants_before: Collection[str] = (own_clients.GRANT,),
    own: tuple[Sequence[str], Iterable[Any] | None] | None = None,
) -> str | None:
    """Save a client that was checked. Return its new secret in clear text, or ``None``.

    ``own`` are the scopes and projects (``None`` for all) in which a new client with the client
    credentials grant acts for its owner. By default, these are the scopes that a client gets
    that requests none, in all projects. ``grants_before`` are those of a client that its owner
    edits: adding the grant is the owner's consent.
    """
    secret: str | None = None
    is_added = own_clients.GRANT not in grants_before
    main, *others = sorted(grants, key=list(DOT_GRANTS).index)
    application.authorization_grant_type = DOT_GRANTS[main]
    if application.client_type == application.CLIENT_PUBLIC:
        if new_secret:
            application.client_secret = generate_client_secret()  # never shown
    elif new_secret:
        application.client_secret = secret = generate_client_secret()
    with transactions.atomic(type(application)):
        application.save()
        ClientSettings.objects.update_or_create(
            application=application, defaults={"grant_types": " ".join(others)}
        )
        if own_clients.GRANT in grants and (new_secret or is_added):
            names = default_scopes() if own is None else own[0]
            names = consent.allowed(names, application.user, application.client_id)
            own_clients.allow(application, names, None if own is None else own[1])
    return secret


def default_scopes() -> list[str]:
    """Return the scopes of a user's own client for which none were requested."""
    return Scopes().get_default_scopes()


@sensitive_variables()
def rotate_secret(application: Any, overlap: timedelta, *, by: Any = None) -> str | None:
    """Create a new secret for a confidential client; the old one keeps working for ``overlap``.

    Return the new secret, or ``None`` if another request has replaced the old one.
    """
    secret: str = generate_client_secret()
    with transactions.atomic(type(application)):
        rows = type(application)._default_manager.filter(pk=application.pk)
        locked = rows.select_for_update().values_list("client_secret", flat=True).first()
        if locked != application.client_secret:
            return None
        expires_at = timezone.now() + overlap if overlap else None
        ClientSettings.objects.update_or_create(
            application=application,
            defaults={
                "previous_secret": application.client_secret if overlap else "",
                "previous_secret_expires_at": expires_at,
            },
        )
        application.client_secret = secret
        application.save(update_fields=["client_secret", "updated"])
        client_secret_rotated.send(
            type(application), application=application, by=by, expires_at=expires_at
        )
    return secret


@sensitive_variables()
def is_previous_secret(application: Any, secret: str) -> bool:
    """Return whether ``secret`` is the replaced secret, and its overlap has not ended.

    Raise ``TooManyTries``.
    """
    found = ClientSettings.objects.filter(
        application=application, previous_secret_expires_at__gt=timezone.now()
    ).first()
    if found is None or not found.previous_secret:
        return False
    return client_secrets.current.get().is_right(secret, found.previous_secret)


def grants_of(application: Any) -> list[str]:
    """Return all grant types of a client, by their names in RFC 7591."""
    own = application.authorization_grant_type
    settings = getattr(application, "apikeys_settings", None)
    return [
        lifetimes.GRANT_TYPES.get(own, own),
        *(settings.grant_types.split() if settings else ()),
    ]


def has_active_owner(application: Any) -> bool:
    """Return whether the client belongs to the site, or to an active user."""
    return application.user_id is None or is_active(application.user)


def is_operators(application: Any) -> bool:
    """Return whether a person created the client, on a page or in the admin.

    Clients that registered themselves (RFC 7591, or a metadata document at their URL) get no
    rights that only the site's own clients have.
    """
    return bool(application.registration_source == application.RegistrationSource.MANUAL)


def is_strangers(application: Any) -> bool:
    """Return whether the client registered itself without a user, which anyone can do."""
    return application.user_id is None and not is_operators(application)


def has_readable_name(application: Any) -> bool:
    """Return whether the name from a client's metadata document (CIMD) is readable."""
    is_own = application.registration_source == application.RegistrationSource.CIMD
    return not is_own or not application.name or naming.is_readable(application.name)


def has_grant(application: Any, name: str) -> bool:
    """Return whether a client has ``name`` among its additional grant types."""
    extra: Iterable[str] = ClientSettings.objects.filter(application=application).values_list(
        "grant_types", flat=True
    )
    return any(name in names.split() for names in extra)


@sensitive_variables("text")
def issue_token(application: Any, user: Any) -> str:
    """Create the token with which a client manages its registration (RFC 7592); return its text.

    django-oauth-toolkit's function fails without ``USE_TZ``.
    """
    seconds = oauth2_settings.DCR_REGISTRATION_TOKEN_EXPIRE_SECONDS
    ends = moments.never() if seconds is None else timezone.now() + timedelta(seconds=seconds)
    scope, text = oauth2_settings.DCR_REGISTRATION_SCOPE, generate_client_secret()
    row = get_access_token_model()(application=application, user=user, expires=ends, scope=scope)
    set_token_value(row, text)
    row.save()
    return str(text)


class OwnUserPermission(IsAuthenticatedDCRPermission):
    """Allow registration to users who logged in recently, and to their access tokens.

    The token needs the scope ``DCR_REGISTRATION_SCOPE``. It must belong to a client that a
    person created: a client that registered itself cannot register others.
    """

    @sensitive_variables()
    def has_permission(self, request: HttpRequest) -> bool:
        text = parse_bearer_token(request.META.get("HTTP_AUTHORIZATION", ""))
        if text is None:
            # The client's tokens outlive the session, so an unattended session must not do.
            return bool(super().has_permission(request)) and get_sudo().is_recent(request)
        try:
            access = verify(text, request)
        except Refused as refused:
            if unavailable.reason(refused) is not None:
                raise
            return False
        application = get_application_model()
        held_by = access.client if isinstance(access.client, application) else None
        if held_by is None or not is_operators(held_by):
            return False
        if access.user is None or not access.allows(oauth2_settings.DCR_REGISTRATION_SCOPE):
            return False
        request.user = access.user
        vars(request)["apikeys_access"] = access
        return True


class AnyonePermission(OwnUserPermission):
    """Allow registration to anyone, such as the client of an agent (MCP).

    A client belongs to the user that ``OwnUserPermission`` allows. Any other client has no user,
    and the number of these is limited. A request with an invalid token is refused.
    """

    def has_permission(self, request: HttpRequest) -> bool:
        if super().has_permission(request):
            return True
        if "HTTP_AUTHORIZATION" in request.META:
            return False
        request.user = AnonymousUser()  # not of a session that another site may have used
        return True
