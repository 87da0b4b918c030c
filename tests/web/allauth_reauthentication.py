from django.http import HttpResponse
from django.urls import path

urlpatterns = [
    path("again/", lambda request: HttpResponse(), name="account_reauthenticate"),
]
