"""The servers that tests start."""

import socket

from tests.servers import RedisServer, exposed, running


def test_redis_listens_on_loopback_only(tmp_path):
    with running(RedisServer(tmp_path)) as server:
        assert not exposed(server.port)


def test_a_socket_on_another_address_is_found():
    with socket.socket() as listener:
        listener.bind(("127.0.0.2", 0))
        listener.listen()
        assert exposed(listener.getsockname()[1])
