from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

from apikeys.channels import BearerMiddleware

http = get_asgi_application()


class Who(AsyncJsonWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.send_json({"user": str(self.scope["user"])})


sockets = URLRouter([path("ws/who/", Who.as_asgi())])
application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": BearerMiddleware(sockets, required_scopes=["api:read"], interval=0.2),
    }
)
