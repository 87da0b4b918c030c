import re
from typing import Any, cast

from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import urlencode
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from oauth2_provider import views
from oauth2_provider.models import (
    DeviceCodeResponse,
    DeviceRequest,
    create_device_grant,
    get_application_model,
)
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.views import device
from oauthlib.oauth2 import OAuth2Error

from .. import consent
from .authorize import guarded
from .token import ENDPOINT, Readable, challenged, error_response

#: User codes that a user may try within so many seconds (RFC 8628 section 5.1).
_TRIES, _WINDOW = 20, 300


class DeviceAuthorizationView(Readable, views.DeviceAuthorizationView):
    """RFC 8628 section 3.1: a code for the device and one for the user."""

    @method_decorator(ENDPOINT)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if "client_id" not in request.POST:  # oauthlib takes it from the query too
            return error_response("invalid_request", "The parameter client_id is missing.")
        core = self.get_oauthlib_core()
        try:
            _headers, answer, status = core.server.create_device_authorization_response(
                *core._extract_params(request)
            )
        except OAuth2Error as error:
            response = error_response(error.error, error.description or "", error.status_code)
            return challenged(request, response)
        if status != 200:
            return JsonResponse(answer, status=status)
        uri = oauth2_settings.OAUTH_DEVICE_VERIFICATION_URI or request.build_absolute_uri(
            reverse("oauth2_provider:device")
        )
        scope = answer.pop("scope", "")
        answer["verification_uri"] = uri
        answer.setdefault(
            "verification_uri_complete", f"{uri}?{urlencode({'user_code': answer['user_code']})}"
        )
        answer.setdefault("interval", oauth2_settings.DEVICE_FLOW_INTERVAL)
        create_device_grant(
            DeviceRequest(client_id=request.POST["client_id"], scope=scope),
            DeviceCodeResponse(**answer),
        )
        return JsonResponse(answer, headers={"Cache-Control": "no-store"})


class UserCodeForm(device.DeviceGrantForm):
    """Takes a code as people type it (section 6.1): any case, with spaces or dashes."""

    def __init__(self, *args: Any, user: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.fields["user_code"].label = _("Code")

    def clean_user_code(self) -> str:
        key = f"apikeys:user-code:{self.user.pk}"
        cache.add(key, 0, _WINDOW)
        if cache.incr(key) > _TRIES:
            raise ValidationError(
                gettext("Too many tries. Wait five minutes."), code="too_many_tries"
            )
        typed = self.cleaned_data["user_code"].upper()
        self.cleaned_data["user_code"] = re.sub(r"[^0-9A-Z]", "", typed)
        code: str = super().clean_user_code()
        return code


class DeviceUserCodeView(views.DeviceUserCodeView):
    template_name = "apikeys_oauth/device_code.html"
    form_class = UserCodeForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guarded(cast("HttpResponse", super().dispatch(request, *args, **kwargs)))

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        return kwargs | {"user": self.request.user}


class DeviceConfirmForm(consent.ReachFields, device.DeviceConfirmForm):
    def is_allowed(self) -> bool:
        return bool(self.cleaned_data.get("action") == "accept")


class DeviceConfirmView(views.DeviceConfirmView):
    """The consent page of a device."""

    template_name = "apikeys_oauth/device_confirm.html"
    form_class = DeviceConfirmForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guarded(cast("HttpResponse", super().dispatch(request, *args, **kwargs)))

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        return kwargs | {"user": self.request.user}

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        client_id = self.get_object().client_id
        return context | consent.told(context["scopes"], self.request.user, client_id)

    def form_valid(self, form: DeviceConfirmForm) -> HttpResponse:
        grant = self.get_object()
        if grant.is_expired():
            raise Http404
        if form.is_allowed():
            names = consent.allowed(grant.scope.split(), self.request.user, grant.client_id)
            if not names:
                form.add_error(None, gettext("None of this is yours to give."))
                return cast("HttpResponse", self.form_invalid(form))
            applications = get_application_model()._default_manager
            application = applications.get(client_id=grant.client_id)
            with transaction.atomic(using=router.db_for_write(type(grant))):
                grant.scope = " ".join(names)
                grant.save(update_fields=["scope"])
                consent.record(
                    self.request.user, application, grant.scope, form.selected, device=grant
                )
                return cast("HttpResponse", super().form_valid(form))
        return cast("HttpResponse", super().form_valid(form))


class DeviceGrantStatusView(views.DeviceGrantStatusView):
    template_name = "apikeys_oauth/device_done.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return guarded(cast("HttpResponse", super().dispatch(request, *args, **kwargs)))
