import os

from django.core.asgi import get_asgi_application

from apikeys.gateway.asgi import ForwardAuth

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")

application = ForwardAuth(get_asgi_application())
