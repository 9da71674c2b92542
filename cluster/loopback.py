"""Keep a local run to this machine: Ray on the loopback address, TensorFlow's port closed to the network."""

import ctypes
import logging
import os
import socket
import struct
from pathlib import Path

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


def ray_on_loopback() -> None:
    """Let a Ray that this process starts bind to 127.0.0.1.

    Ray has no option for it on Linux; what it does on macOS by default, this
    variable decides, read when Ray is imported and by every process it starts.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False
    # A local Ray takes a token of every client by default, and warns of it each time.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)


def main() -> None:
    """Ray's own command line (`python -m cluster.loopback start …`), for nodes that share this machine.

    Ray refuses to join a second node to a head that is on the loopback address,
    which only its command line checks.
    """
    ray_on_loopback()
    from ray._private import ray_constants, services
    from ray.scripts.scripts import main as ray_command_line

    ray_constants.ENABLE_RAY_CLUSTER = True  # In this process alone: those that it starts read the variable.
    services.get_node_ip_address = lambda *_: "127.0.0.1"
    ray_command_line()


def close_to_network(port: int) -> None:
    """Drop what reaches this process's listening TCP `port` from beyond the loopback interface.

    TensorFlow's collectives listen on all interfaces, whatever address they
    are given, and run what they are sent. A filter on the socket needs no
    privilege. Raises RuntimeError when this process does not listen on `port`.
    """
    filters = b"".join(struct.pack("HBBI", *instruction) for instruction in _LOOPBACK_ONLY)
    program = ctypes.create_string_buffer(filters)
    option = struct.pack("HL", len(_LOOPBACK_ONLY), ctypes.addressof(program))
    closed = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not os.readlink(entry).startswith("socket:"):
                continue
            listener = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue  # Closed since it was listed.
        with listener:
            if _listens_on(listener, port):
                listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)
                closed += 1
    if not closed:
        raise RuntimeError(f"this process does not listen on port {port}")


def _listens_on(candidate: socket.socket, port: int) -> bool:
    if candidate.family not in (socket.AF_INET, socket.AF_INET6) or candidate.type != socket.SOCK_STREAM:
        return False
    return bool(candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) and candidate.getsockname()[1] == port


if __name__ == "__main__":
    main()
