from django.urls import include, path
from wagtail import urls as wagtail_urls
from wagtail.admin import urls as wagtail_admin_urls

from tests.documents import blocks
from tests.sites.urls import urlpatterns as common

scope: dict[str, object] = {}
exec(blocks("docs/how-to/wagtail.md", "python")[0], scope)

urlpatterns = [
    *common,
    path("api/v2/", scope["api_router"].urls),
    path("cms/", include(wagtail_admin_urls)),
    path("pages/", include(wagtail_urls)),
]
