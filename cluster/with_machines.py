"""Run a job once the autoscaler has started its machines: jobs count the machines that are there, and refuse to wait.

    ray job submit --working-dir . -- python -m cluster.with_machines --workers 2 --gpus 1 --cpus 3 -- \\
        python jobs/train_cnn.py --workers 2 --device gpu --data s3://bucket/fer2013 --storage s3://bucket/runs

While the job runs, the autoscaler keeps room for the workers and replaces a spot machine that is taken away; when it
ends, the machines are free to go. Exits as the job does.
"""

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray

from cluster.connect import WorkerResources, connect, room
from fer_data.errors import UserError

# What `ray.autoscaler.sdk.request_resources` takes, and `ray.nodes` gives.
Ask = Callable[[list[dict[str, int]]], None]
Machines = Callable[[], list[dict[str, Any]]]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command that `argv` ends with."""
    parser = argparse.ArgumentParser(
        "python -m cluster.with_machines", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, required=True, help="how many workers the machines must have room for")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of each worker (default 0)")
    parser.add_argument("--cpus", type=int, default=1, help="CPUs of each worker (default 1)")
    parser.add_argument("--minutes", type=float, default=30, help="how long to wait for the machines (default 30)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- and the job's command")
    options = parser.parse_args(argv)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command or options.workers < 1 or options.gpus < 0 or options.cpus < 1:
        parser.error("give --workers and --cpus of 1 or more, and after -- the command to run")
    # `ray job stop` sends this: the request must not outlive the job, or its machines stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        connect()
        from ray.autoscaler.sdk import request_resources

        each = WorkerResources(options.cpus, options.gpus)
        return run_with_machines(
            command,
            options.workers,
            each,
            seconds=options.minutes * 60,
            machines=ray.nodes,
            ask=lambda bundles: request_resources(bundles=bundles),
        )
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return 2


def run_with_machines(
    command: Sequence[str],
    workers: int,
    each: WorkerResources,
    *,
    seconds: float,
    machines: Machines,
    ask: Ask,
    pause: float = 5,
) -> int:
    """Ask for room for `workers` of `each`, wait for it, run `command`, take the request back; its exit code.

    Raises UserError when there is no room after `seconds`.
    """
    ask([{"CPU": each.cpus} | ({"GPU": each.gpus} if each.gpus else {})] * workers)
    job = None
    try:
        _wait(workers, each, seconds=seconds, machines=machines, pause=pause)
        job = subprocess.Popen(command)
        return job.wait()
    finally:
        ask([])  # First of all: who stops a job gives it seconds.
        if job:
            job.terminate()
            job.wait()


def _wait(workers: int, each: WorkerResources, *, seconds: float, machines: Machines, pause: float) -> None:
    end = time.monotonic() + seconds
    said = -1
    while (there := room(machines(), each)) < workers:
        if there != said:
            print(f"waiting for machines: room for {there} of {workers} workers", flush=True)
            said = there
        if time.monotonic() > end:
            raise UserError(
                f"after {seconds / 60:g} minutes the cluster has room for {there} of {workers} workers of "
                f"{each.cpus} CPUs and {each.gpus} GPUs: ask for fewer, or see `ray status` for what holds it up"
            )
        time.sleep(pause)


if __name__ == "__main__":
    sys.exit(main())
