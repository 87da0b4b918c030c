from django.urls import path
from oauth2_provider.views import ConnectDiscoveryInfoView

urlpatterns = [path(".well-known/openid-configuration", ConnectDiscoveryInfoView.as_view())]
