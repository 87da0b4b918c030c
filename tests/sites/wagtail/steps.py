import httpx
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from wagtail.models import Page, PageViewRestriction


def walk(site):
    home = Page.objects.get(depth=2)
    hidden = home.add_child(instance=Page(title="Hidden", slug="hidden", live=False))
    for kind in ("login", "groups", "password"):
        page = home.add_child(instance=Page(title=kind, slug=kind))
        restriction = PageViewRestriction.objects.create(page=page, restriction_type=kind)
        if kind == "groups":
            restriction.groups.add(Group.objects.create(name="Members"))
    get_user_model().objects.create_user("bob").groups.add(Group.objects.get(name="Members"))
    get_user_model().objects.create_user("eve")

    for owner, expected in (
        (("--user", "bob"), ["login", "groups"]),
        (("--user", "eve"), ["login"]),
        (("--project", "engine"), ["login"]),
    ):
        client = site.program(*owner, "--scope", "pages:read")
        answer = client.get("/api/v2/pages/")
        assert answer.status_code == 200, answer.text
        assert [page["title"] for page in answer.json()["items"]] == [home.title, *expected]
        assert "private" in answer.headers["Cache-Control"]
        assert client.get(f"/api/v2/pages/{home.pk}/").json()["title"] == home.title
        assert client.get(f"/api/v2/pages/{hidden.pk}/").status_code == 404
        assert client.get("/cms/").status_code == 302  # a credential is no login for editors
        assert site.program(*owner).get("/api/v2/pages/").json()["code"] == "insufficient_scope"
    assert httpx.get(f"{site.url}/api/v2/pages/").status_code == 401
    assert site.browser.get(f"{site.url}/cms/").status_code == 200
