from datetime import timedelta
from typing import Any, Final, cast

from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import csrf_protect
from oauth2_provider import views
from oauth2_provider.models import get_application_model, get_device_grant_model
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import device
from oauthlib.oauth2 import OAuth2Error

from ...databases import transactions
from ...http import outages
from ...http.hidden import hidden
from ...limits import attempts, networks
from ...web.login import LoginRequiredView
from .. import consent, consent_page, recent_login
from ..device import is_expired, is_full
from ..scopes import limited
from .authorize import guarded
from .token import ENDPOINT, Readable, addressed, error_response, finished, too_many

#: Maximum number of user codes that a user can try, and the window in seconds (RFC 8628
#: section 5.1).
_TRIES, _WINDOW = 20, 300

#: Maximum number of device codes for one address (or one IPv6 /64) in ``_WINDOW`` seconds.
_FROM_ADDRESS: Final = 50

_LONGEST_CODE: Final = 100


class DeviceAuthorizationView(Readable, views.DeviceAuthorizationView):
    """Issue a device code and a user code (RFC 8628 section 3.1)."""

    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return finished(request, super().dispatch(request, *args, **kwargs))

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "client_id" not in request.POST:  # oauthlib would also read it from the query
            return error_response("invalid_request", "The parameter client_id is missing.")
        address = networks.counted(networks.client_ip(request))
        if attempts.count(f"device:{address}", _WINDOW).number > _FROM_ADDRESS:
            return too_many("Too many device codes were requested from this address.", _WINDOW)
        core = self.get_oauthlib_core()
        try:
            _headers, answer, status = core.server.create_device_authorization_response(
                *core._extract_params(request)
            )
        except OAuth2Error as error:
            return error_response(error.error, error.description or "", error.status_code)
        if status != 200:
            return JsonResponse(answer, status=status)
        if is_full(request.POST["client_id"]):
            return too_many("This client has too many pending device codes.", _WINDOW)
        uri = oauth2_settings.OAUTH_DEVICE_VERIFICATION_URI or request.build_absolute_uri(
            reverse("oauth2_provider:device")
        )
        scope = answer.pop("scope", "")
        answer["verification_uri"] = uri
        answer.setdefault(
            "verification_uri_complete", f"{uri}?{urlencode({'user_code': answer['user_code']})}"
        )
        answer.setdefault("interval", oauth2_settings.DEVICE_FLOW_INTERVAL)
        get_device_grant_model()._default_manager.create(
            client_id=request.POST["client_id"],
            device_code=answer["device_code"],
            user_code=answer["user_code"],
            scope=" ".join(dict.fromkeys((scope or "").split())),
            expires=timezone.now() + timedelta(seconds=answer["expires_in"]),
        )
        return JsonResponse(answer, headers={"Cache-Control": "no-store"})


class UserCodeForm(device.DeviceGrantForm):
    """Accept a user code in any case, with or without spaces and dashes (section 6.1)."""

    def __init__(self, *args: Any, user: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.fields["user_code"].label = _("Code")

    def clean_user_code(self) -> str:
        if attempts.count(f"user-code:{self.user.pk}", _WINDOW).number > _TRIES:
            raise ValidationError(
                gettext("Too many attempts. Try again in five minutes."), code="too_many_tries"
            )
        typed = self.cleaned_data["user_code"][:_LONGEST_CODE].upper()
        code = "".join(c for c in typed if c.isascii() and c.isalnum())
        grant = get_device_grant_model()._default_manager.filter(user_code=code).first()
        if grant is None:
            raise ValidationError("Incorrect user code", code="incorrect_user_code")
        if is_expired(grant):
            raise ValidationError("Expired user code", code="expired_user_code")
        if grant.status != grant.AUTHORIZATION_PENDING:
            raise ValidationError("User code has already been used", code="user_code_already_used")
        self.cleaned_data["device_grant"] = grant  # read by the view
        return code


class DeviceUserCodeView(LoginRequiredView, views.DeviceUserCodeView):
    template_name = "apikeys_oauth/device_code.html"
    form_class = UserCodeForm
    http_method_names = ["get", "post", "head", "options"]

    @method_decorator((hidden, outages.answered(outages.page), csrf_protect, addressed))
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guarded(cast("HttpResponse", super().dispatch(request, *args, **kwargs)))

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        return kwargs | {"user": self.request.user}


def readable(user_code: str) -> str:
    """Return a user code as devices show it: in two halves (RFC 8628 section 6.1)."""
    half = len(user_code) // 2
    return f"{user_code[:half]}-{user_code[half:]}" if len(user_code) in (6, 8) else user_code


class DeviceConfirmForm(consent_page.ReachFields, device.DeviceConfirmForm):
    def is_allowed(self) -> bool:
        return bool(self.cleaned_data.get("action") == "accept")


class DeviceConfirmView(LoginRequiredView, views.DeviceConfirmView):
    """The consent page for a device code."""

    template_name = "apikeys_oauth/device_confirm.html"
    form_class = DeviceConfirmForm
    http_method_names = ["get", "post", "head", "options"]

    @method_decorator((hidden, outages.answered(outages.page), csrf_protect, addressed))
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = cast("HttpResponse", super().dispatch(request, *args, **kwargs))
        except Http404:
            # The code has expired or was answered, in another tab or by a second click.
            response = render(request, "apikeys_oauth/device_gone.html", status=404)
        return guarded(response)

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if recent_login.is_missing(request, self.get_application()):
            return recent_login.ask(request, request.path)
        return cast("HttpResponse", super().get(request, *args, **kwargs))

    def get_application(self) -> Any:
        """Return the client that requested the code. Raise ``Http404`` if it was deleted."""
        client_id = self.get_object().client_id
        return get_object_or_404(get_application_model(), client_id=client_id)

    def get_initial(self) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_initial()
        initial |= consent_page.initial(self.request.user, self.get_application())
        return initial | recent_login.draft(self.request, self.request.path)

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        return kwargs | {"user": self.request.user}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        names = limited(context["scopes"], context["application"])
        said = consent_page.facts(self.request.user, context["application"], names)
        return context | said | {"user_code": readable(self.get_object().user_code)}

    def form_valid(self, form: DeviceConfirmForm) -> HttpResponse:
        grant = self.get_object()
        if is_expired(grant):
            raise Http404
        if form.is_allowed():
            application = self.get_application()
            wanted = limited(grant.scope.split(), application)
            offered = consent.allowed(wanted, self.request.user, grant.client_id)
            names = form.granted(offered)
            if not offered:
                form.add_error(None, gettext("You do not have any of the requested permissions."))
            elif not names:
                form.add_error("access", gettext("None of these permissions is read only."))
            if form.errors:
                return cast("HttpResponse", self.form_invalid(form))
            if recent_login.is_missing(self.request, application):
                return recent_login.ask(self.request, self.request.path)
            with transactions.atomic(type(grant)):
                grant.scope = " ".join(names)
                grant.save(update_fields=["scope"])
                given = consent.save(
                    self.request.user,
                    application,
                    grant.scope,
                    form.selected,
                    is_given=True,
                    is_narrowed=set(names) != set(offered),
                    device=grant,
                )
                consent.tell(given, form.selected)
                return cast("HttpResponse", super().form_valid(form))
        return cast("HttpResponse", super().form_valid(form))


class DeviceGrantStatusView(LoginRequiredView, views.DeviceGrantStatusView):
    template_name = "apikeys_oauth/device_done.html"
    extra_context: Any = {"url_of_applications": consent_page.url_of_applications}

    @method_decorator((hidden, outages.answered(outages.page), csrf_protect, addressed))
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guarded(cast("HttpResponse", super().dispatch(request, *args, **kwargs)))
