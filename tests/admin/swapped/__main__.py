"""Use the admin of a site with swapped models, in a separate process: swapping is permanent."""

import os
import re

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.admin.swapped.settings"
django.setup()

from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402

from apikeys.models import Membership, PersonalAccessToken, ProjectKey  # noqa: E402
from apikeys.verify import verify  # noqa: E402
from tests.admin.swapped.models import Person, Team  # noqa: E402

setup_test_environment()
call_command("check", fail_level="WARNING")
call_command("migrate", run_syncdb=True, verbosity=0)
root = Person.objects.create_superuser("root@example.com")
team = Team.objects.create(slug="weavers")
Membership.objects.create(user=root, project=team, role="owner")
client = Client()
client.force_login(root)

TOKENS, KEYS = "/admin/apikeys/personalaccesstoken/", "/admin/apikeys/projectkey/"
form = {"name": "laptop", "scopes": ["payments:read"], "expires_at_0": "", "expires_at_1": ""}


def mint(url, **more):
    page = client.post(f"{url}add/", form | more).content.decode()
    return re.findall(r'id="token"[^>]*>([^<]+)<', page)[0]


text = mint(TOKENS, user=root.pk, projects=[str(team.pk)])
assert list(verify(text).projects()) == [team]
assert verify(mint(KEYS, project=str(team.pk))).project == team

token, key = PersonalAccessToken.objects.get(), ProjectKey.objects.get()
for url, row in ((TOKENS, token), (KEYS, key)):
    for term in ("root@", "weav", row.public_id):
        assert client.get(url, {"q": term}).context["cl"].result_count == 1, (url, term)
    assert client.get(f"{url}{row.pk}/change/").status_code == 200
found = client.post(f"{TOKENS}find/", {"key": text})
assert found["Location"] == f"{TOKENS}{token.pk}/change/"
assert client.get("/admin/apikeys/project/").status_code == 404
assert client.get("/admin/apikeys/membership/", {"q": "weavers"}).context["cl"].result_count == 1
for url in (f"{TOKENS}access/", f"{TOKENS}inventory/", f"{KEYS}{key.pk}/change/"):
    page = client.get(url).content.decode()
    assert f'href="{TOKENS}access/' in page, url
(shown,) = client.get(f"{TOKENS}access/", {"q": "weav"}).context["projects"]
assert str(team.pk).replace("-", "") in shown["url"].replace("-", "")
assert {row["entry"].id for row in client.get(shown["url"]).context["rows"]} == {
    token.public_id,
    key.public_id,
}
client.post(f"{shown['url']}{token.public_id}/deny/", {"reason": "Lost."})
assert not verify(text).projects()
client.post(f"{shown['url']}{token.public_id}/allow/")
assert list(verify(text).projects()) == [team]
client.post(
    TOKENS,
    {"action": "revoke_selected", "_selected_action": token.pk, "confirmed": "y", "reason": "r"},
)
token.refresh_from_db()
assert token.revoked_by == root
print("used")
