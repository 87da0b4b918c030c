"""Documents come from public addresses only, and no server can hold a worker."""

import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apikeys import fetching
from apikeys.fetching import ERRORS, is_allowed


def teredo(server, client):
    high, low = (int.from_bytes(socket.inet_aton(client)[at : at + 2]) for at in (0, 2))
    first, second = (socket.inet_aton(server)[at : at + 2].hex() for at in (0, 2))
    return f"2001:0:{first}:{second}:0:0:{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}"


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.0.0.8", "192.88.99.1", "::1", "fd00::1"),
        *("fec0::1", "fe80::1%eth0", "3fff::1", "2002:a00:1::", "64:ff9b::a00:1", "::ffff:7f00:1"),
        *(teredo("8.8.8.8", "10.0.0.1"), teredo("10.0.0.1", "8.8.8.8")),
    ],
)
def test_address_that_is_not_public_is_refused(address):
    assert not is_allowed(address)


def test_public_addresses_are_allowed():
    public = ("1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101", teredo("8.8.8.8", "1.1.1.1"))
    assert all(map(is_allowed, public))


def test_network_that_the_site_names_is_allowed():
    assert is_allowed("10.1.2.3", [ip_network("10.0.0.0/8")])
    assert not is_allowed("192.168.1.1", [ip_network("10.0.0.0/8")])


class Slow:
    """A server that sends ``first``, and then a byte every twentieth of a second."""

    def __init__(self, first, context=None):
        self.first, self.context = first, context
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        Thread(target=self.serve, daemon=True).start()

    def serve(self):
        try:
            connection, _ = self.listening.accept()
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            with connection:
                connection.sendall(self.first)
                for _ in range(100):
                    time.sleep(0.05)
                    connection.sendall(b" ")
        except OSError:
            pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("scheme", "first"),
    [
        ("http", b""),
        ("http", b"HTTP/1.1 200 OK\r\nA: "),
        ("http", b"HTTP/1.1 200 OK\r\n\r\n"),
        ("http", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("https", b"\x16\x03\x03\x40\x00"),
    ],
)
def test_server_that_drips_bytes_is_cut_off(scheme, first):
    server = Slow(first)
    started = time.monotonic()
    with server.listening, pytest.raises(ERRORS):
        fetching.get(
            f"{scheme}://127.0.0.1:{server.port}/", ends=started + 0.3, most=9999, is_local=True
        )
    assert time.monotonic() - started < 3


def test_all_addresses_share_the_time(monkeypatch):
    """Each address may take what the ones before it left."""
    given = []

    def connect(address, timeout):
        given.append(timeout)
        if len(given) == 2:
            monkeypatch.setattr(fetching, "_left", fail)
        raise TimeoutError

    def fail(ends):
        raise TimeoutError("no time is left")

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: [(2, 1, 6, "", ("1.1.1.1", 1))] * 8)
    with pytest.raises(TimeoutError, match="no time is left"):
        fetching.get("https://id.example.com/", ends=time.monotonic() + 5, most=1)
    assert len(given) == 2
    assert given[1] < given[0] <= 5


def test_redirect_is_not_followed():
    server = Slow(b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
    with server.listening:
        answer = fetching.get(
            f"http://127.0.0.1:{server.port}/", ends=time.monotonic() + 5, most=9, is_local=True
        )
    assert (answer.status, answer.body) == (302, b"")


def certificate(folder, name):
    """Write a certificate for ``name``, which signed itself, and return its context."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "certificate.pem"
    path.write_bytes(made.public_bytes(encoding))
    whole = folder / "with-key.pem"
    whole.write_bytes(key.private_bytes(encoding, *plain) + made.public_bytes(encoding))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(whole)
    return path, context


@pytest.mark.parametrize(("name", "is_right"), [("id.example.com", True), ("evil.example", False)])
def test_certificate_must_be_for_the_name(tmp_path, monkeypatch, name, is_right):
    """The name is resolved to this computer; the certificate is still checked for the name."""
    trusted, context = certificate(tmp_path, name)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    server = Slow(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", context)
    found = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", server.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)

    def fetch():
        url = f"https://id.example.com:{server.port}/"
        return fetching.get(url, ends=time.monotonic() + 5, most=9, is_local=True)

    with server.listening:
        if is_right:
            assert fetch().body == b"{}"
        else:
            with pytest.raises(ssl.SSLCertVerificationError):
                fetch()
