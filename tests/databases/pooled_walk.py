"""A site's life on the database of ``pooled_settings``: ``python -m tests.databases.pooled_walk``.

One process with a web server in threads, so that many threads share few connections.
"""

import io
import json
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from socketserver import ThreadingMixIn

import django
import httpx

THREADS = 12  # more than a pool has connections
MANY = 1200  # events: more than an export reads at once


def apikeys(*arguments):
    from django.core.management import call_command

    out = io.StringIO()
    call_command("apikeys", *arguments, stdout=out)
    return out.getvalue()


def as_json(*arguments):
    return json.loads(apikeys(*arguments, "--json"))


def serve():
    """Return the address of a web server whose threads, and so their connections, stay."""
    from django.core.servers.basehttp import WSGIRequestHandler, WSGIServer
    from django.core.wsgi import get_wsgi_application

    workers = ThreadPoolExecutor(THREADS)

    class Server(ThreadingMixIn, WSGIServer):
        request_queue_size = 2 * THREADS

        def process_request(self, request, client_address):
            workers.submit(self.process_request_thread, request, client_address)

    class Handler(WSGIRequestHandler):
        def log_message(self, *args):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.set_app(get_wsgi_application())
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def main():
    from django.core.management import call_command

    call_command("migrate", verbosity=0)

    from django.test import Client
    from django.utils import timezone

    from apikeys import usage
    from apikeys.models import AuditEvent, PersonalAccessToken
    from tests.factories import MembershipFactory, bearer

    member = MembershipFactory(
        user__username="ada", user__email="ada@example.com", project__slug="engine", role="owner"
    )
    url = serve()
    scopes = [f"--scope={name}" for name in ("keys:write", "payments:read")]
    manager = as_json("mint", "--user", "ada", "--name", "manager", *scopes)["token"]

    def send(method, path, token=manager, **kwargs):
        headers = bearer(token) | kwargs.pop("headers", {})
        return httpx.request(method, f"{url}{path}", headers=headers, timeout=60, **kwargs)

    def at_once(*args, **kwargs):
        with ThreadPoolExecutor(THREADS) as pool:
            futures = [pool.submit(send, *args, **kwargs) for _ in range(THREADS)]
            return [future.result() for future in futures]

    def verify(token, right):
        answers = Counter(response.status_code for response in at_once("GET", "/plain/", token))
        assert answers == {right: THREADS}, answers

    made = as_json("mint", "--user", "ada", "--name", "ci", "--scope", "payments:read")
    verify(made["token"], 200)
    usage.flush()
    key = PersonalAccessToken.objects.get(public_id=made["id"])
    assert sum(key.usage.values_list("count", flat=True)) == THREADS
    assert key.last_used_at is not None

    asked = {"name": "once", "scopes": ["payments:read"]}
    responses = at_once("POST", "/api/tokens/", json=asked, headers={"Idempotency-Key": "one"})
    assert {response.status_code for response in responses} == {201}, responses
    assert sum(response.json()["token"] is not None for response in responses) == 1
    assert PersonalAccessToken.objects.filter(name="once").count() == 1

    new = as_json("rotate", made["id"], "--overlap", "0")
    verify(new["token"], 200)
    verify(made["token"], 401)

    statuses = {each.status_code for each in at_once("DELETE", f"/api/tokens/{new['id']}/")}
    assert statuses <= {204, 409} and 204 in statuses, statuses  # noqa: PT018
    verify(new["token"], 401)
    events = AuditEvent.objects.filter(public_id=new["id"], event=AuditEvent.Event.REVOKED)
    assert events.count() == 1

    soon = PersonalAccessToken.objects.filter(name="once")
    now = timezone.now()
    times = {"created_at": now - timedelta(days=30), "expires_at": now + timedelta(days=2)}
    assert soon.update(**times) == 1
    assert as_json("notify")["notified"] == 1
    assert as_json("notify")["notified"] == 0
    as_json("prune")

    old = {"kind": "personalaccesstoken", "event": "edited", "public_id": made["id"], "name": "ci"}
    AuditEvent.objects.bulk_create(
        [AuditEvent(**old, owner="ada", owner_pk=str(member.user.pk)) for _ in range(MANY)]
    )
    browser = Client()
    browser.force_login(member.user)
    cookie = {"Cookie": f"sessionid={browser.cookies['sessionid'].value}"}
    export = "/settings/keys/activity/?event=edited&format=jsonl"
    numbers = [len(each.text.splitlines()) for each in at_once("GET", export, headers=cookie)]
    assert numbers == [MANY] * THREADS, numbers
    printed = apikeys("audit", "--format", "jsonl", "--event", "edited")
    assert len(printed.splitlines()) == MANY
    assert len(as_json("list", "--all")) == PersonalAccessToken.objects.count()


if __name__ == "__main__":
    django.setup()
    from apikeys.testing import fast_hashing

    with fast_hashing():
        main()
    print("done")
    os._exit(0)  # not waiting for the threads of the server
