"""Serve the site or its reverse proxy in a separate process, on the database of the tests.

``python -m tests.gateway.serve PORT DATABASE APIKEYS`` (a dotted path of an ASGI application
comes fourth); ``APIKEYS`` is JSON, and adds to that setting. The variable ``SITE_SETTINGS`` is
JSON too, of settings of Django's own.
"""

import json
import os
import sys

from django.utils.module_loading import import_string


def main(port, database, apikeys, application="django.core.asgi.get_asgi_application"):
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = database
    settings.APIKEYS = settings.APIKEYS | json.loads(apikeys)
    for name, value in json.loads(os.environ.get("SITE_SETTINGS", "{}")).items():
        setattr(settings, name, value)
    import django
    import uvicorn

    django.setup()
    uvicorn.run(
        import_string(application)(),
        port=int(port),
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="on" if "gateway" in application else "off",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
