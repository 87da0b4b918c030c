"""A person with a browser, who logs in and authorizes an application."""

import re
from html.parser import HTMLParser
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx

from example_project.payments.demo import PASSWORD


class _Form(HTMLParser):
    """Collect the hidden fields of a page."""

    def __init__(self, text):
        super().__init__()
        self.fields = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "input" and found.get("type") == "hidden" and found.get("name"):
            self.fields[found["name"]] = found.get("value") or ""


class Person:
    def __init__(self, username="ada"):
        self.username = username
        self.http = httpx.Client(follow_redirects=False, timeout=30, trust_env=False)

    def authorize(self, url):
        """Log in and authorize. Return the parameters of the redirect to the application."""
        response = self._get(url)
        form = _Form(response.text).fields | {"allow": "Authorize", "reach": "all"}
        response = self.http.post(response.url, data=form, headers={"Referer": str(response.url)})
        assert response.status_code == 302, f"{response.status_code} {_text(response)}"
        query = parse_qs(urlsplit(response.headers["Location"]).query)
        return {name: value for name, (value,) in query.items()}

    def _get(self, url):
        response = self.http.get(url)
        while response.is_redirect:
            target = urljoin(str(response.url), response.headers["Location"])
            response = self.http.get(target)
            if "/login/" in target:
                form = _Form(response.text).fields
                form |= {"username": self.username, "password": PASSWORD}
                response = self.http.post(target, data=form, headers={"Referer": target})
                assert response.is_redirect, _text(response)
        assert response.status_code == 200, f"{response.status_code} {_text(response)}"
        return response


def _text(response):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.text))[:1000]
