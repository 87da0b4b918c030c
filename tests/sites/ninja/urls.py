import strawberry
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from strawberry.django.views import AsyncGraphQLView

from apikeys.ninja import KeyAuth
from apikeys.strawberry import RequireScopes
from tests.sites.urls import urlpatterns as common

api = NinjaAPI()


@api.get("/who", auth=KeyAuth("api:read"))
def who(request):
    return {"id": request.auth.credential_id, "user": str(request.user)}


@api.get("/awho", auth=KeyAuth("api:read"))
async def awho(request):
    return {"id": request.auth.credential_id, "user": str(request.user)}


@api.post("/who", auth=KeyAuth("api:write", accepts=["personal_access_token"]))
def write(request):
    return {"user": request.user.pk}


@strawberry.type
class Query:
    @strawberry.field
    def public(self) -> str:
        return "everyone"

    @strawberry.field(extensions=[RequireScopes("api:read")])
    def who(self, info: strawberry.Info) -> str:
        return str(info.context.request.auth.principal)


graphql = AsyncGraphQLView.as_view(schema=strawberry.Schema(Query))
urlpatterns = [
    *common,
    path("ninja/", api.urls),
    path("graphql/", csrf_exempt(graphql)),
]
