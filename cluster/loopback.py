"""Keep a local run to this machine: TensorFlow's port is closed to the network.

`python -m cluster.loopback start …` is Ray's command line, on the loopback address.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from cluster.ray_internals import run_command_line_on_loopback

_SO_ATTACH_FILTER = 26
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF of linux/filter.h: loads from here on read the IP header.
_FIRST_BYTE, _DESTINATION = _NETWORK_HEADER, _NETWORK_HEADER + 16

# A classic BPF program (linux/filter.h; code, jump if true, jump if false, operand) that a kernel runs
# on every packet to the socket: IPv4 packets to 127.0.0.0/8 pass, all others are dropped.
_LOOPBACK_ONLY = (
    (0x30, 0, 0, _FIRST_BYTE),  # load the byte that starts with the IP version
    (0x74, 0, 0, 4),  # shift it right by 4
    (0x15, 0, 3, 4),  # version 4? else drop
    (0x30, 0, 0, _DESTINATION),  # load the first byte of the destination
    (0x15, 0, 1, 127),  # 127? else drop
    (0x06, 0, 0, 0x7FFFFFFF),  # pass
    (0x06, 0, 0, 0),  # drop
)


@contextmanager
def guarded(port: int) -> Iterator[None]:
    """Let nothing that is sent to this machine's network addresses reach `port` inside the block.

    For programs that open `port` on all addresses, with SO_REUSEPORT, before `close_to_network` can find their socket.
    A socket of our own on each address takes such packets and drops them: the kernel prefers it to one on all
    addresses.
    """
    with ExitStack() as guards:
        for family, address in _network_addresses(port):
            guard = guards.enter_context(socket.socket(family))
            guard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            _drop_from_network(guard)
            guard.bind(address)
            guard.listen()
        yield


def close_to_network(port: int) -> None:
    """Drop packets that reach this process's listening TCP `port` from outside the loopback interface.

    TensorFlow's collectives listen on all interfaces, whatever address they are given, and accept requests from anyone.
    A filter on the socket needs no privilege. Raises RuntimeError when this process does not listen on `port`.
    """
    closed = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not os.readlink(entry).startswith("socket:"):
                continue
            listener = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue  # The file was closed after it was listed.
        with listener:
            if _listens_on(listener, port):
                _drop_from_network(listener)
                closed += 1
    if not closed:
        raise RuntimeError(f"this process does not listen on port {port}")


def _drop_from_network(listener: socket.socket) -> None:
    filters = b"".join(struct.pack("HBBI", *instruction) for instruction in _LOOPBACK_ONLY)
    program = ctypes.create_string_buffer(filters)
    option = struct.pack("HL", len(_LOOPBACK_ONLY), ctypes.addressof(program))
    listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def _network_addresses(port: int) -> Iterator[tuple[int, tuple]]:
    """Family and socket address, with `port`, of every address of this machine but those of the loopback interface."""
    for addresses in psutil.net_if_addrs().values():
        for each in addresses:
            if each.family in (socket.AF_INET, socket.AF_INET6) and not each.address.startswith(("127.", "::1")):
                (found, *_) = socket.getaddrinfo(each.address, port, each.family, socket.SOCK_STREAM)
                yield found[0], found[4]


def _listens_on(candidate: socket.socket, port: int) -> bool:
    if candidate.family not in (socket.AF_INET, socket.AF_INET6) or candidate.type != socket.SOCK_STREAM:
        return False
    return bool(candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) and candidate.getsockname()[1] == port


if __name__ == "__main__":  # `python -m cluster.loopback start …`
    run_command_line_on_loopback()
