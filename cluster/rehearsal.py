"""A cluster of several Ray nodes on this one machine, started and ended as separate machines would be.

The head, which runs the jobs' drivers, has no CPUs for anything else; each node has its own raylet. All listen on
127.0.0.1 and require a token from every client.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from cluster.ray_internals import LOCAL_VARIABLES, NODE_HAS_STARTED
from fer_data.errors import UserError
from fer_data.storage import join, write_file

HEAD = "head"
REHEARSED_GPU = "rehearsed_gpu"
"""The Ray resource of nodes with rehearsed GPUs. Jobs reserve them like real ones, but compute on the CPU."""
NOTICE_SECONDS = 20
"""How long a node has after its notice, and a job after `ray job stop`."""
_NOTICE_VARIABLES = ("RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S", "RAY_JOB_STOP_WAIT_TIME_S")
_STATE = "cluster.json"
_PATIENCE_SECONDS = 300
_ATTEMPTS = 6


def _nothing(message: str) -> None:
    """For those who do not listen."""


@dataclass
class Rehearsal:
    """A running cluster: the head's ports, and by node name the session id of its processes, its CPUs and GPUs.

    `metrics` holds each node's Prometheus port. Each node has its own folder in `disks`, as each machine has its own
    disk. In a shared folder, nodes would overwrite each other's copy of a job's working directory while jobs use it.
    """

    folder: str
    disks: str
    port: int
    dashboard_port: int
    nodes: dict[str, int] = field(default_factory=dict)
    cpus: dict[str, int] = field(default_factory=dict)
    gpus: dict[str, int] = field(default_factory=dict)
    metrics: dict[str, int] = field(default_factory=dict)

    @classmethod
    def up(
        cls, folder: Path, *, nodes: int, cpus: int, gpus: int = 0, say: Callable[[str], object] = _nothing
    ) -> "Rehearsal":
        """Start a head and `nodes` nodes, named 1, 2 …; returns when jobs can be submitted. `say` hears of each step.

        Each node has `cpus` CPUs and rehearses `gpus` GPUs. Raises UserError when `folder` already has a cluster.
        """
        if (folder / _STATE).exists():
            raise UserError(f"{folder} has a cluster: end it with `python -m cluster.rehearse down`")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        token = os.open(folder / "token", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(token, "w") as file:
            file.write(secrets.token_hex(32))
        port, dashboard = free_ports(2)
        disks = tempfile.mkdtemp(prefix="ray_")  # Not in `folder`, because paths of Unix sockets must be short.
        cluster = cls(str(folder), disks, port, dashboard)
        try:
            cluster._start_all({str(name): (cpus, gpus) for name in range(1, nodes + 1)}, say)
        except BaseException:
            cluster.down()
            raise
        return cluster

    @classmethod
    def open(cls, folder: Path) -> "Rehearsal":
        """The cluster in `folder`. Raises UserError when there is none."""
        try:
            return cls(**json.loads((folder / _STATE).read_text()))
        except FileNotFoundError:
            raise UserError(f"{folder} has no cluster: start one with `python -m cluster.rehearse up`") from None

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of a client; one is the path of the token file."""
        return {
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{self.dashboard_port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(Path(self.folder) / "token"),
        }

    def restart(self, say: Callable[[str], object] = _nothing) -> None:
        """End what is left of the cluster and start its head and nodes again, with the same names and ports."""
        sizes = {name: (cpus, self.gpus.get(name, 0)) for name, cpus in self.cpus.items()}
        for session in self.nodes.values():
            _kill_session(session)
        self.nodes.clear()
        self._start_all(sizes, say)

    def add(self, name: str, *, cpus: int = 1, gpus: int = 0, say: Callable[[str], object] = _nothing) -> None:
        """Start a node called `name` with `gpus` rehearsed GPUs. Raises UserError for a taken or invalid name."""
        if not name.isidentifier() and not name.isalnum():
            raise UserError(f"a node's name may hold letters, digits and '_', not {name!r}")
        if name in self.nodes:
            raise UserError(f"there is a node called {name} already: the nodes are {', '.join(self.nodes)}")
        self.cpus[name], self.gpus[name] = cpus, gpus
        say(f"starting node {name}: {cpus} CPU(s)" + (f" and {gpus} rehearsed GPU(s)" if gpus else ""))
        self._start(name, "--address", f"127.0.0.1:{self.port}", "--num-cpus", cpus)

    def preempt(self, name: str) -> None:
        """Tell the node called `name` that it ends, as clouds and Kubernetes do: SIGTERM to its `ray start`.

        It ends within `NOTICE_SECONDS`, and stays in `nodes` until it is killed. Raises UserError when there is none.
        """
        if name not in self.nodes:
            raise UserError(f"there is no node called {name}: the nodes are {', '.join(self.nodes)}")
        os.kill(self.nodes[name], signal.SIGTERM)

    def kill(self, name: str) -> None:
        """Kill the node called `name`, as when its machine fails. Raises UserError when there is none."""
        if name not in self.nodes:
            raise UserError(f"there is no node called {name}: the nodes are {', '.join(self.nodes)}")
        _kill_session(self.nodes.pop(name))
        if HEAD in self.nodes:  # Otherwise the whole cluster is down, and `restart` starts all of its nodes.
            self.cpus.pop(name, None)
            self.gpus.pop(name, None)
        self._save()

    def down(self) -> None:
        """End every node and remove its files, including Ray's logs."""
        for session in reversed(self.nodes.values()):
            _kill_session(session)
        shutil.rmtree(self.disks, ignore_errors=True)
        for name in (_STATE, "token"):
            (Path(self.folder) / name).unlink(missing_ok=True)

    def processes(self, name: str) -> dict[int, str]:
        """Process ids and command lines of the node's living processes."""
        return _members(self.nodes[name]) if name in self.nodes else {}

    def is_running(self, name: str) -> bool:
        """Whether any of the node's processes is alive."""
        return bool(self.processes(name))

    def _start_all(self, sizes: dict[str, tuple[int, int]], say: Callable[[str], object]) -> None:
        say("starting the head")
        self._start(
            HEAD,
            *("--head", "--port", self.port, "--num-cpus", 0, "--include-dashboard", "true"),
            *("--dashboard-host", "127.0.0.1", "--dashboard-port", self.dashboard_port),
            *("--ray-client-server-port", free_ports(1)[0]),
        )
        for name, (cpus, gpus) in sizes.items():
            self.add(name, cpus=cpus, gpus=gpus, say=say)
        say("waiting until jobs can be submitted")
        self._wait_for_agent()

    def _start(self, name: str, *arguments: object) -> None:
        """Start a node and wait until the head knows it. Retries when it ends before.

        A port may be taken, and Ray itself gives a node only 30 s, which a busy machine may not keep to.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for attempt in reversed(range(_ATTEMPTS)):
            try:
                self._start_once(name, deadline, *arguments)
                return
            except UserError:
                if not attempt or time.monotonic() > deadline:
                    self.kill(name)
                    raise
                _kill_session(self.nodes[name])

    def _start_once(self, name: str, deadline: float, *arguments: object) -> None:
        agent, grpc, runtime, self.metrics[name] = free_ports(4)
        gpus = self.gpus.get(name, 0)
        disk = str(Path(self.disks) / name)
        os.makedirs(disk, exist_ok=True)
        resources = {f"node_{name}": 1} | ({REHEARSED_GPU: gpus} if gpus else {})
        command = [
            *(sys.executable, "-m", "cluster.loopback", "start", "--block", "--node-ip-address", "127.0.0.1"),
            *("--temp-dir", disk),
            *("--dashboard-agent-listen-port", agent, "--dashboard-agent-grpc-port", grpc),
            *("--runtime-env-agent-port", runtime, "--metrics-export-port", self.metrics[name]),
            # Given even when it is 0, because a node would otherwise count the machine's GPUs as its own.
            *("--num-gpus", gpus, "--disable-usage-stats", "--resources", json.dumps(resources)),
            *arguments,
        ]
        environment = os.environ | self.environment | {"PYTHONUNBUFFERED": "1"}
        environment["TMPDIR"] = disk  # Programs that are killed leave temporary files.
        environment |= dict.fromkeys(_NOTICE_VARIABLES, str(NOTICE_SECONDS))
        for variable in ("RAY_ADDRESS", *LOCAL_VARIABLES):
            environment.pop(variable, None)
        if gpus:
            environment.pop("CUDA_VISIBLE_DEVICES", None)  # Ray refuses more GPUs than this variable lists.
        # Jobs run with the `python` of the environment that Ray was started in.
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
        with (Path(self.folder) / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.nodes[name] = process.pid
        self._save()
        while NODE_HAS_STARTED not in (Path(self.folder) / f"{name}.log").read_text():
            self._check(name, process.poll() is None, deadline)

    def _check(self, name: str, is_running: bool, deadline: float) -> None:
        time.sleep(0.25)
        if not is_running or time.monotonic() > deadline:
            log = Path(self.folder) / f"{name}.log"
            said = log.read_text(errors="replace").split("\n") if log.exists() else []
            last = next((line.strip() for line in reversed(said) if line.strip()), "it said nothing")
            raise UserError(f"node {name} did not start ({last}): see {log}")

    def _wait_for_agent(self) -> None:
        """Wait until jobs can be submitted, which is seconds after the head has started."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        headers = {"Authorization": f"Bearer {(Path(self.folder) / 'token').read_text()}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.dashboard_port}/api/jobs/", headers=headers)
        while True:
            try:
                urllib.request.urlopen(request, timeout=10).close()
                return
            except OSError:
                self._check(HEAD, self.is_running(HEAD), deadline)

    def _save(self) -> None:
        write_file(join(self.folder, _STATE), json.dumps(asdict(self), indent=1).encode())


def free_ports(count: int) -> list[int]:
    """Free ports of the loopback address."""
    sockets = [socket.socket() for _ in range(count)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    return ports


def _members(session: int) -> dict[int, str]:
    """Process ids and command lines of a session's living processes and all their descendants.

    Ray's own processes stay in the session of `ray start`; the driver of a job starts a new session.
    """
    found: dict[int, str] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):  # It has ended, or is another user's.
            if process.pid not in found and os.getsid(process.pid) == session:
                for each in (process, *process.children(recursive=True)):
                    with suppress(psutil.Error):
                        if each.status() != psutil.STATUS_ZOMBIE:
                            found[each.pid] = " ".join(each.cmdline())
    return found


def _kill_session(session: int) -> None:
    """kill -9 every process of a session, including those started in the meantime."""
    while pids := _members(session):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
