"""Watch, kill and inspect the processes that a test started."""

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import psutil

PATIENCE_SECONDS = 900


def run_to_end(command: Sequence[object], cwd: Path) -> str:
    """What `command` printed on its way to its end, which must be a good one."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def until(condition: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    """Wait for `condition`; `process` must not end before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert process is None or process.poll() is None, (process.stdout or process.stderr).read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def interrupted(
    command: Sequence[object], cwd: Path, begun: Callable[[], bool], number: signal.Signals = signal.SIGINT
) -> None:
    """Start `command`, send the signal once it has `begun`, and check that it ends as every command does."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids: dict[int, str] = {}
    try:
        until(begun, process)
        pids = stop_as_from_a_terminal(process, number)
        _, printed = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        kill([process.pid, *pids])
        process.wait()
    assert process.returncode == 128 + number, printed
    assert re.fullmatch("interrupted(: .*; the same command goes on)?", printed.splitlines()[-1])
    assert "Traceback" not in printed


def stop_as_from_a_terminal(process: subprocess.Popen, number: signal.Signals = signal.SIGINT) -> dict[int, str]:
    """Send a signal to the group of `process`; its descendants at that moment, as `descendants` gives them.

    It must have been started in a session of its own.
    """
    process.send_signal(signal.SIGSTOP)  # It must not end while they are listed.
    pids = descendants(process.pid)
    os.killpg(process.pid, number)
    process.send_signal(signal.SIGCONT)
    return pids


def descendants(pid: int) -> dict[int, str]:
    """Process ids and command lines of all processes that descend from `pid`."""
    found = {}
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.Error):
                found[process.pid] = " ".join(process.cmdline())
    return found


def kill(pids: Iterable[int]) -> list[int]:
    """Kill the processes `pids`, and return them."""
    pids = list(pids)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return pids


def assert_all_end(pids: Iterable[int]) -> None:
    """None of `pids` is left, but for those that wait to be reaped by whoever adopted them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pids = list(pids)

    def alive(pid: int) -> bool:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        return False

    while left := [pid for pid in pids if alive(pid)]:
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.2)


def listening_ports(pids: Iterable[int]) -> set[int]:
    """TCP ports that the processes `pids` listen on, on any interface."""
    return {port for _, port in listening_addresses(pids)}


def listening_addresses(pids: Iterable[int]) -> set[tuple[IPv4Address | IPv6Address, int]]:
    """Addresses and TCP ports that the processes `pids` listen on."""
    found = set()
    for pid in pids:
        with suppress(psutil.Error):
            listening = [c for c in psutil.Process(pid).net_connections("tcp") if c.status == psutil.CONN_LISTEN]
            addresses = [(ip_address(c.laddr.ip), c.laddr.port) for c in listening]
            # IPv4 within IPv6 counts as IPv4.
            found |= {((address.version == 6 and address.ipv4_mapped) or address, port) for address, port in addresses}
    return found


def address_on_the_network() -> str | None:
    """This machine's address on its network, if it has one; connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # TEST-NET-2: nobody's address.
        except OSError:
            return None
        address = probe.getsockname()[0]
    return None if address.startswith("127.") else address


def reachable(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
