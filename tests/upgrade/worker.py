"""A worker that uses keys in every way; it runs on 1.0 and on this version.

For each line that it reads, it prints one line of JSON: what each step answered, the tokens that
work at the end, and the kind of each token that the line lists.
"""

import base64
import hashlib
import json
import sys
from datetime import timedelta
from io import StringIO


def steps() -> tuple[dict[str, object], list[str]]:
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client
    from oauth2_provider.models import Application

    from apikeys import lifecycle, usage
    from apikeys.models import Membership, Project

    user, _ = get_user_model().objects.get_or_create(
        username="ada", defaults={"is_staff": True, "is_superuser": True}
    )
    project, _ = Project.objects.get_or_create(slug="engine", defaults={"name": "Engine"})
    Membership.objects.get_or_create(user=user, project=project, defaults={"role": "owner"})
    Application.objects.get_or_create(
        client_id="cli",
        defaults={
            "name": "CLI",
            "client_type": "public",
            "authorization_grant_type": "authorization-code",
            "redirect_uris": "http://127.0.0.1/callback",
            "client_secret": "",
            "skip_authorization": True,
        },
    )
    scopes = ["payments:read", "keys:write"]
    soon = {"allowed_networks": ["127.0.0.0/8"], "rate_limits": ["1000/hour"]}
    token = lifecycle.mint(user=user, name="laptop", scopes=scopes, projects=[project], **soon)
    key = lifecycle.mint(project=project, name="server", scopes=scopes, by=user)
    lifecycle.edit(token.key, name="desktop", rate_limits=["10/second"])
    rotated = lifecycle.rotate(key.key, overlap=timedelta(hours=1))
    gone = lifecycle.mint(user=user, name="gone", scopes=scopes)
    lifecycle.revoke(gone.key, reason="Lost.")

    client, found = Client(), dict[str, object]()

    def bearer(text: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {text}"}

    for name, text in {"token": token, "key": key, "rotated": rotated, "gone": gone}.items():
        answer = client.get("/api/token/", headers=bearer(text.token))
        found[name] = [answer.status_code, answer.json().get("scopes"), answer.json().get("code")]
    body = {"name": "made over the API", "scopes": ["payments:read"], "projects": ["engine"]}
    made = client.post("/api/tokens/", body, "application/json", headers=bearer(token.token))
    found["created over the API"] = [made.status_code, sorted(made.json())]
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": rotated.token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "client_id": "cli",
    }
    exchanged = client.post("/o/token/", exchange)
    found["exchanged"] = [exchanged.status_code, sorted(exchanged.json())]
    verifier = "v" * 43
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": "cli",
        "redirect_uri": "http://127.0.0.1/callback",
        "scope": "payments:read",
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    client.force_login(user)
    found["asked for consent"] = client.get("/o/authorize/", asked).status_code
    for page in (
        "/settings/keys/",
        f"/settings/keys/{token.key.public_id}/",
        "/settings/applications/",
        "/admin/apikeys/personalaccesstoken/",
        f"/admin/apikeys/projectkey/{key.key.pk}/change/",
        "/admin/apikeys/auditevent/",
    ):
        found[page.replace(token.key.public_id, "ID").replace(f"/{key.key.pk}/", "/PK/")] = (
            client.get(page).status_code
        )
    usage.flush()
    for command in ("prune", "notify", "list", "audit"):
        call_command("apikeys", command, stdout=StringIO(), stderr=StringIO())
    works = [token.token, key.token, rotated.token]
    works += [made.json()["token"], exchanged.json()["access_token"]]
    return found, works


def kinds(tokens: list[str]) -> list[str | None]:
    from django.test import Client

    given = [{"Authorization": f"Bearer {token}"} for token in tokens]
    return [Client().get("/api/token/", headers=each).json().get("kind") for each in given]


if __name__ == "__main__":
    import django

    django.setup()
    for line in sys.stdin:
        known = kinds(json.loads(line))
        print(json.dumps([*steps(), known]), flush=True)
