"""Run the code of the documentation of OAuth."""

from django.utils.module_loading import import_string

from apikeys.oauth.conf import oauth_settings
from tests.documents import blocks


def test_the_code_runs(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    from django.urls import include, path

    found = blocks("docs/reference/oauth.md", "python")
    installed, urls, jwts, app, client, open_to_all = found
    scope = {"INSTALLED_APPS": [], "include": include, "path": path}
    exec(installed, scope)
    for dotted in (v for name, v in scope["OAUTH2_PROVIDER"].items() if name.endswith("_CLASS")):
        import_string(dotted)
    exec(urls, scope)
    exec(jwts, scope)
    settings.APIKEYS = settings.APIKEYS | scope["APIKEYS"]
    assert oauth_settings.JWT_RESOURCES == ["https://mcp.example.com/mcp"]
    assert oauth_settings.errors() == []
    exec(app, scope)
    exec(client, scope)
    exec(open_to_all, scope)
    for dotted in scope["OAUTH2_PROVIDER"]["DCR_REGISTRATION_PERMISSION_CLASSES"]:
        import_string(dotted)
    assert len(scope["urlpatterns"]) == 4
    assert set(scope["group"].commands) == {"login", "whoami", "token", "api", "key", "logout"}
    scope["client"].close()
