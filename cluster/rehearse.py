"""Rehearse on a cluster of several Ray nodes on this machine: submit jobs, add nodes, kill them.

    python -m cluster.rehearse up --nodes 2 --cpus 1 [--gpus 1]
    eval "$(python -m cluster.rehearse env)"
    ray job submit --working-dir . -- python jobs/train_cnn.py --workers 2 --storage /tmp/runs
    python -m cluster.rehearse add three
    python -m cluster.rehearse kill 1
    python -m cluster.rehearse preempt 2
    python -m cluster.rehearse kill head
    python -m cluster.rehearse restart
    python -m cluster.rehearse status
    python -m cluster.rehearse down

The head, which runs the jobs' drivers, has no CPUs for anything else; each node has its own raylet. All listen on
127.0.0.1 and require a token from every client; `env` sets the variable with the token's path. `kill` sends kill -9 to
the node's processes, as when a machine fails; `preempt` gives it the notice that clouds give. A cluster ends with its
head; `restart` starts the head and all nodes.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cluster.rehearsal import HEAD, NOTICE_SECONDS, Rehearsal
from fer_data.commands import Parser, exit_with_code, refusal

_GPUS_HELP = "rehearsed GPUs of each node: jobs reserve them but compute on the CPU"


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser("python -m cluster.rehearse", description=__doc__)
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "fer_jobs" / "rehearsal"
    parser.add_argument("--folder", type=Path, default=default, help=f"folder of the cluster's state ({default})")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start a cluster")
    up.add_argument("--nodes", type=int, default=2)
    up.add_argument("--cpus", type=int, default=1, help="CPUs of each node")
    up.add_argument("--gpus", type=int, default=0, help=_GPUS_HELP)
    for name in ("add", "kill", "preempt"):
        command = commands.add_parser(name, help=f"{name} a node")
        command.add_argument("name")
        if name == "add":
            command.add_argument("--cpus", type=int, default=1)
            command.add_argument("--gpus", type=int, default=0, help=_GPUS_HELP)
    for name in ("restart", "env", "status", "down"):
        commands.add_parser(name)
    options = parser.parse_args(argv)
    say = partial(print, flush=True)
    for name, least in (("nodes", 0), ("cpus", 1), ("gpus", 0)):
        if (number := getattr(options, name, least)) < least:
            raise refusal(f"--{name} must be {least} or more (it is {number})")
    if options.command == "up":
        cluster = Rehearsal.up(options.folder, nodes=options.nodes, cpus=options.cpus, gpus=options.gpus, say=say)
        print('the cluster is up: eval "$(python -m cluster.rehearse env)" and submit jobs')
        return
    cluster = Rehearsal.open(options.folder)
    if options.command == "add":
        cluster.add(options.name, cpus=options.cpus, gpus=options.gpus, say=say)
        print(f"node {options.name} is up")
    elif options.command == "preempt":
        cluster.preempt(options.name)
        print(f"node {options.name} ends within {NOTICE_SECONDS} s; `kill {options.name}` removes it")
    elif options.command == "kill":
        cluster.kill(options.name)
        print(
            "the head is gone, and the cluster with it: restart starts it again"
            if options.name == HEAD
            else f"node {options.name} is gone"
        )
    elif options.command == "restart":
        cluster.restart(say=say)
        print("the cluster is up again")
    elif options.command == "down":
        cluster.down()
        print(f"the cluster is down; in a shell that used it: unset {' '.join(cluster.environment)}")
    elif options.command == "env":
        for name, value in cluster.environment.items():
            print(f"export {name}={value}")
    else:
        for name in cluster.nodes:
            state = "running" if cluster.is_running(name) else "gone"
            logs = Path(cluster.disks) / name / "session_latest/logs"
            print(f"{name:12}{state:9}metrics http://127.0.0.1:{cluster.metrics[name]}/metrics  logs {logs}")


if __name__ == "__main__":
    exit_with_code(main)
