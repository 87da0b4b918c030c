from organizations.models import Organization


def make_project(user):
    organization = Organization.objects.create(name="engine")  # its slug comes from the name
    organization.add_user(user, is_admin=True)


def walk(site):
    server = site.program("--project", "engine")
    assert server.get("/api/who/").status_code == 200
    organization = Organization.objects.get(slug="engine")
    organization.is_active = False
    organization.save()
    answer = server.get("/api/who/")
    assert (answer.status_code, answer.json()["code"]) == (401, "inactive_project")
    organization.is_active = True
    organization.save()
    assert server.get("/api/who/").status_code == 200

    organization.organization_users.update(is_admin=False)
    form = site.browser.get(f"{site.url}/settings/keys/projects/engine/new/")
    assert form.status_code in {403, 404}
    organization.organization_users.all().delete()
    assert site.browser.get(f"{site.url}/settings/keys/projects/engine/").status_code == 404
