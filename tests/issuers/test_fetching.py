"""Keys are fetched from public addresses over https, within a time and a size."""

import socket
import time

import pytest

from apikeys.fetching import ERRORS
from apikeys.issuers import fetching
from apikeys.issuers.fetching import fetch


def refused(url, *args):
    with pytest.raises(ERRORS) as error:
        fetch(url, *args)
    return str(error.value)


def test_document_is_fetched(server):
    assert fetch(f"{server.url}/jwks")["keys"]


@pytest.mark.parametrize(
    "url",
    [
        "http://id.example.com/jwks",
        "file:///etc/passwd",
        "ftp://id.example.com/jwks",
        "https:///jwks",
        "https://user@id.example.com/jwks",
        "http://127.0.0.1@evil.example.com/",
        "https://id.example.com/a b",
        "https://\u24d4vil.example.com/",
        "",
        None,
    ],
)
def test_other_urls_are_refused_without_a_connection(settings, monkeypatch, url):
    settings.DEBUG = True
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: pytest.fail("resolved"))
    assert refused(url)


def test_this_computer_is_refused_without_debug(settings, server):
    settings.DEBUG = False
    assert "https" in refused(f"{server.url}/jwks")
    assert "private address" in refused(server.url.replace("http:", "https:"))
    assert server.requests == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fc00::1", "fe80::1%eth0"),
        *("ff02::1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1"),
        *("2002:a00:1::", "fd00:ec2::254"),
    ],
)
def test_private_address_is_refused_after_the_name_was_resolved(monkeypatch, address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    answer = [(family, socket.SOCK_STREAM, 6, "", (each, 443)) for each in ("1.1.1.1", address)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answer)
    monkeypatch.setattr(socket, "create_connection", lambda *args: pytest.fail("connected"))
    assert "private address" in refused("https://id.example.com/jwks")


def test_connection_goes_to_the_address_that_was_checked(monkeypatch):
    """The name is resolved once, so that it cannot lead to another address the second time."""
    answers = iter(["1.1.1.1", "127.0.0.1"])
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda *args, **kwargs: [(socket.AF_INET, 1, 6, "", (next(answers), 443))],
    )
    tried = []

    def connect(address, timeout):
        tried.append(address)
        raise ConnectionRefusedError("nobody listens")

    monkeypatch.setattr(socket, "create_connection", connect)
    assert refused("https://id.example.com/jwks") == "nobody listens"
    assert tried == [("1.1.1.1", 443)]


def redirect(target):
    def answer(handler):
        handler.send_response(302)
        handler.send_header("Location", target)
        handler.end_headers()

    return answer


def test_redirect_on_the_same_host_is_followed(server):
    server.pages["/old"] = redirect("/jwks")
    assert fetch(f"{server.url}/old")["keys"]


@pytest.mark.parametrize(
    "target", ["http://localhost:1/jwks", "https://id.example.com/", "file:///etc/passwd", "//x/y"]
)
def test_redirect_to_another_host_is_refused(server, target):
    server.pages["/old"] = redirect(target)
    assert refused(f"{server.url}/old")
    assert server.requests == ["/old"]


def test_endless_redirect_is_refused(server):
    server.pages["/old"] = redirect("/old")
    assert "too often" in refused(f"{server.url}/old")
    assert len(server.requests) <= 5


def send(body, **headers):
    def answer(handler):
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (send(b" " * (fetching.MOST + 1)), "too large"),
        (send(b"{}", Content_Encoding="gzip"), "compressed"),
        (send(b"[]"), "no JSON object"),
        (send(b"[" * 100_000), ""),
        (send(b"{}{}"), ""),
        (None, "404"),
    ],
)
def test_bad_answer_is_refused(server, page, reason):
    server.pages["/jwks"] = page
    assert reason in refused(f"{server.url}/jwks")


@pytest.mark.slow
def test_slow_server_is_cut_off(server, monkeypatch):
    """Each byte arrives in time, but the whole answer does not."""
    monkeypatch.setattr(fetching, "TIMEOUT", 0.3)

    def drip(handler):
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        try:
            for _ in range(100):
                handler.wfile.write(b" ")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    server.pages["/jwks"] = drip
    started = time.monotonic()
    refused(f"{server.url}/jwks")
    assert time.monotonic() - started < 3
