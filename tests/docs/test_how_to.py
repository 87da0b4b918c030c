"""The how-to pages, done word for word in the project of the tutorial."""

import contextlib
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.docs.reader import Reader
from tests.docs.screenshots import browse, take
from tests.servers import RedisServer, free_port, wait_until
from tests.services import require
from tests.tiers import long

pytestmark = pytest.mark.slow

TUTORIAL = "docs/tutorial/first-keys.md"
PROJECT = "docs/how-to/index.md"
PAGES = [
    "how-to/own-policy",
    "how-to/protect-a-view",
    "how-to/rotate-peppers",
    "how-to/test-your-views",
    "how-to/upgrade",
    "reference/scopes",
    "reference/signals",
]


def follow(folder):
    """Somebody in this folder, with the packages of the suite: there is no need for pip."""
    reader = Reader(folder, Path(sys.executable).parent)
    reader.skip = ("python3 -m venv", ". venv/bin/activate", "pip install")
    return reader


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with contextlib.closing(follow(folder)) as reader:
        reader.read(TUTORIAL, until="Create a token")
        reader.read(PROJECT)
    return folder


@pytest.fixture
def reader(tmp_path, made):
    """Somebody who has done the tutorial, and serves the project."""
    reader = follow(shutil.copytree(made, tmp_path / "acme"))
    reader.serve("python manage.py runserver")
    yield reader
    reader.close()


@pytest.fixture
def beginner(tmp_path):
    reader = follow(tmp_path)
    reader.serve("python manage.py runserver")
    yield reader
    reader.close()


@pytest.mark.parametrize("page", [long(p) if p == "how-to/upgrade" else p for p in PAGES])
def test_a_page(reader, page):
    if page == "how-to/protect-a-view":  # it counts the payment that the tutorial makes later
        payment = (
            "from payments.models import Payment; Payment.objects.create(amount=5, owner_id=1)"
        )
        _printed, status = reader.type(f'python manage.py shell -c "{payment}"')
        assert status == 0
    reader.read(f"docs/{page}.md")


def wait_for_the_use(reader, heading):
    """Return what a page says beside its code: uses are written every few seconds."""
    show = "python manage.py apikeys show 7k2m4q0x9c1v8b3n"
    return {heading: lambda: wait_until(lambda: "last used ip" in reader.type(show)[0], 60)}


def test_respond_to_a_leak(reader):
    meanwhile = wait_for_the_use(reader, "Try it")
    reader.read("docs/how-to/respond-to-a-leak.md", meanwhile=meanwhile)


def test_rotate_without_downtime(reader):
    meanwhile = wait_for_the_use(reader, "Deploy the new key")
    reader.read("docs/how-to/rotate-without-downtime.md", meanwhile=meanwhile)


@pytest.mark.long
def test_own_project_model(beginner):
    beginner.read("docs/how-to/own-project-model.md")
    migration = beginner.directory / "teams/migrations/0001_initial.py"
    assert "APIKEYS_PROJECT_MODEL" not in migration.read_text()

    # The second way to change the model, for a team that has since added another foreign key.
    models = beginner.directory / "teams/models.py"
    models.write_text(
        models.read_text()
        + "\n\nclass Invoice(models.Model):\n    team = models.ForeignKey(Team, models.CASCADE)\n"
    )
    later = beginner.directory / "teams/migrations/0002_invoice.py"
    settings = beginner.directory / "acme/settings.py"
    for command, before in {
        "makemigrations teams": lambda: None,
        "migrate": lambda: later.write_text(
            later.read_text().replace("settings.APIKEYS_PROJECT_MODEL", "'teams.team'")
        ),
        "migrate apikeys zero": lambda: None,
        "migrate ": lambda: settings.write_text(
            settings.read_text() + '\nAPIKEYS_PROJECT_MODEL = "apikeys.Project"\n'
            "del APIKEYS['POLICY']\n"
        ),
        "makemigrations --check": lambda: None,
    }.items():
        before()
        printed, status = beginner.type(f"python manage.py {command}")
        assert status == 0, printed


#: A site as it was before it had keys.
EXISTING = {
    "orders/models.py": """
from django.conf import settings
from django.db import models


class Order(models.Model):
    text = models.CharField(max_length=50)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
""",
    "orders/views.py": """
from rest_framework.generics import ListCreateAPIView
from rest_framework.serializers import ModelSerializer

from .models import Order


class OrderSerializer(ModelSerializer):
    class Meta:
        model = Order
        fields = ["text"]


class Orders(ListCreateAPIView):
    serializer_class = OrderSerializer

    def get_queryset(self):
        return Order.objects.filter(owner=self.request.user)

    def perform_create(self, serializer):
        serializer.save(owner=self.request.user)
""",
    "templates/base.html": "<h1>Acme</h1>{% block content %}{% endblock %}",
    "acme/settings.py": """
INSTALLED_APPS += ["rest_framework", "rest_framework.authtoken", "orders"]
TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
""",
    "acme/urls.py": """
from orders.views import Orders

urlpatterns += [path("orders/", Orders.as_view())]
""",
}


def test_into_an_existing_site(beginner):
    def do(line):
        printed, status = beginner.type(line)
        assert status == 0, printed
        return printed

    do("django-admin startproject acme .")
    do("python manage.py startapp orders")
    for name, text in EXISTING.items():
        path = beginner.directory / name
        path.parent.mkdir(exist_ok=True)
        adds = name.startswith("acme/")
        path.write_text((path.read_text() if adds else "") + text)
    do("python manage.py makemigrations orders")
    do("python manage.py migrate --verbosity 0")
    do(
        "DJANGO_SUPERUSER_PASSWORD=analytical python manage.py createsuperuser --noinput"
        " --username ada --email ada@example.com"
    )
    beginner.read("docs/how-to/into-an-existing-site.md")

    # Today's tokens of the old package count too, and its deletions.
    made = do("python manage.py drf_create_token --reset ada").split()[2]
    url = f"http://127.0.0.1:{beginner.ports['8000']}"
    assert do(f"curl -s -H 'Authorization: Token {made}' {url}/orders/").strip() == "[]"
    do("python manage.py drf_create_token --reset ada")
    assert "revoked_key" in do(f"curl -s -H 'Authorization: Token {made}' {url}/orders/")
    assert "<h1>Acme</h1>" not in do(f"curl -s {url}/settings/keys/")  # a login comes first


def test_own_look(reader, chromium):
    def in_a_browser():
        page = browse(chromium, reader, "/settings/keys/")
        assert page.locator("header").inner_text().startswith("Acme Payments")
        take(page, "own-look")
        page.context.close()

    reader.type("python manage.py apikeys mint --user ada --name laptop --scope payments:read")
    reader.read("docs/how-to/own-look.md", meanwhile={"Style the settings pages": in_a_browser})


@pytest.mark.long
def test_exchange_keys_for_jwts(reader):
    reader.read("docs/how-to/exchange-keys-for-jwts.md")


def test_secure_an_api_you_cannot_change(reader):
    reader.read("docs/how-to/secure-an-api-you-cannot-change.md")


def test_run_behind_nginx(reader):
    require("nginx", bool(shutil.which("nginx")), "Install it: apt-get install nginx-light.")
    folder, plain, tls = reader.directory, free_port(), free_port()
    (folder / "etc/nginx/tls").mkdir(parents=True)
    reader.type(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=acme.example"
        " -addext subjectAltName=DNS:acme.example"
        " -keyout etc/nginx/tls/acme.example.key -out etc/nginx/tls/acme.example.pem"
    )
    (folder / ".curlrc").write_text(
        f'cacert = "{folder}/etc/nginx/tls/acme.example.pem"\n'
        f'resolve = "acme.example:{tls}:127.0.0.1"\n'
        f'resolve = "acme.example:{plain}:127.0.0.1"\n'
    )
    reader.meant = {
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{tls} ssl;",
        "/etc/nginx/tls/": f"{folder}/etc/nginx/tls/",
        "http://acme.example/": f"http://acme.example:{plain}/",
        "https://acme.example/": f"https://acme.example:{tls}/",
    }
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{'user root; ' if os.getuid() == 0 else ''}pid {folder}/nginx.pid; "
        f"error_log {folder}/error.log; events {{}} "
        f"http {{ access_log {folder}/access.log; {paths} include {folder}/etc/nginx/conf.d/*; }}"
    )
    nginx = f"nginx -p {folder} -e {folder}/error.log -c {folder}/nginx.conf"

    def start_nginx():
        printed, status = reader.type(nginx)
        assert status == 0, printed

    reader.instead["sudo nginx -s reload"] = start_nginx
    try:
        reader.read("docs/how-to/run-behind-nginx.md")
        assert "_key_" not in (folder / "access.log").read_text()
        assert "_pat_" not in (folder / "access.log").read_text()
    finally:
        reader.type(f"{nginx} -s stop")


def test_ship_a_cli(reader):
    script = Path(__file__).with_name("consent.py")
    reader.type(f"export BROWSER='{sys.executable} {script} %s &'")
    reader.type("export PYTHON_KEYRING_BACKEND=keyring.backends.fail.Keyring")
    reader.read("docs/how-to/ship-a-cli.md")
    asked = "curl --fail http://127.0.0.1:8000/o/device-authorization/ -d client_id=acme-cli"
    printed, status = reader.type(asked)
    assert status == 0, printed
    assert "user_code" in printed


@pytest.mark.long
def test_go_to_many_workers(reader, tmp_path):
    redis = RedisServer(tmp_path)
    redis.start()
    reader.ports["6379"] = str(redis.port)
    try:
        reader.forget("python manage.py runserver")
        reader.read("docs/how-to/many-workers.md")
    finally:
        redis.kill()


@pytest.mark.long
def test_sign_requests(reader, tmp_path):
    reader.type("export PYTHON_KEYRING_BACKEND=keyring.backends.fail.Keyring")
    redis = RedisServer(tmp_path)
    redis.start()
    reader.ports["6379"] = str(redis.port)
    try:
        reader.read("docs/how-to/sign-requests.md")
    finally:
        redis.kill()
