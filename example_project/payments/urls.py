from django.urls import path

from . import api

urlpatterns = [
    path("api/payments/", api.PaymentList.as_view(), name="payments"),
    path("api/payments/<int:pk>/", api.PaymentDetail.as_view(), name="payment"),
    path("api/reports/", api.Report.as_view(), name="reports"),
]
