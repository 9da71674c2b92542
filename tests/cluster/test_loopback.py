import socket

import pytest

from cluster.loopback import close_to_network, guarded
from tests.processes import address_on_the_network, reachable


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_closed_port_answers_on_loopback_only(family):
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:  # As TensorFlow's: one socket for both families.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("", 0))
        listener.listen()
        port = listener.getsockname()[1]
        address = address_on_the_network()
        assert address is None or reachable(address, port)
        close_to_network(port)
        assert reachable("127.0.0.1", port)
        assert address is None or not reachable(address, port)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_guarded_port_never_answers_the_network_from_its_first_moment(family):
    address = address_on_the_network()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        with guarded(port):
            listener.bind(("", port))
            listener.listen()
            assert reachable("127.0.0.1", port)
            assert address is None or not reachable(address, port)
            close_to_network(port)
        assert reachable("127.0.0.1", port)
        assert address is None or not reachable(address, port)


def test_a_port_that_nobody_listens_on_is_an_error():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(RuntimeError, match="does not listen"):
            close_to_network(unused.getsockname()[1])
