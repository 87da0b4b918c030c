from django.urls import path

from . import api, views

urlpatterns = [
    path("", views.Page.as_view(), name="page"),
    path("api/payments/", api.PaymentList.as_view(), name="payments"),
    path("api/payments/<int:pk>/", api.PaymentDetail.as_view(), name="payment"),
    path("api/projects/", api.ProjectList.as_view(), name="projects"),
    path("api/reports/", api.Report.as_view(), name="reports"),
]
