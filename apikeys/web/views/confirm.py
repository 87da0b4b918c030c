"""The page where users enter their password again."""

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import sudo
from ..forms import ConfirmForm
from .pages import SettingsPage


class Confirm(SettingsPage):
    """Check the password again, before an action that requires a recent log-in."""

    section = ""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.form_page(ConfirmForm(), 200)

    @sensitive_variables()
    def post(self, request: HttpRequest) -> HttpResponse:
        form = ConfirmForm(request.POST)
        if not self.user.has_usable_password() or not form.is_valid():
            return self.form_page(form, 422)
        confirmed = sudo.confirm(request, form.cleaned_data["password"])
        if confirmed:
            return HttpResponseRedirect(self.next_url)
        if confirmed is None:
            form.add_error("password", _("Too many wrong passwords. Try again in 15 minutes."))
            response = self.form_page(form, 429)
            response["Retry-After"] = str(sudo.WINDOW)
            return response
        form.add_error("password", _("Incorrect password."))
        return self.form_page(form, 422)

    def form_page(self, form: ConfirmForm, status: int) -> HttpResponse:
        login_url = redirect_to_login(self.next_url)["Location"]
        return self.page("confirm", status, form=form, next=self.next_url, login_url=login_url)

    @property
    def next_url(self) -> str:
        asked = self.request.POST.get("next") or self.request.GET.get("next", "")
        safe = url_has_allowed_host_and_scheme(
            asked, {self.request.get_host()}, require_https=self.request.is_secure()
        )
        return asked if safe else reverse("apikeys:keys")
