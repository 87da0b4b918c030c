"""What ``tests.benchmarks.gateway`` compares ``ForwardAuth`` with."""

from django.core.asgi import get_asgi_application

django_alone = get_asgi_application()
