"""Clusters with GPUs on a machine without any, in the process of the tests."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cluster.rehearsal import REHEARSED_GPU

no_real_gpu = pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="this machine has a GPU to be found")


@contextmanager
def ray_with_gpus(count: int, *, cpus: int = 2, rehearsed: bool = True) -> Iterator[None]:
    """A Ray of one machine that counts `count` GPUs. Jobs that are called in this process join it.

    Not `rehearsed`, it is a machine on which TensorFlow does not find the GPUs that Ray counts.
    """
    import ray

    from cluster.connect import start_local

    ray.shutdown()
    # A worker's code that an earlier test ran in this process may have hidden GPUs that Ray is to count here.
    hidden = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    start_local(num_cpus=cpus, num_gpus=count, resources={REHEARSED_GPU: count} if rehearsed else {})
    try:
        yield
    finally:
        ray.shutdown()
        if hidden is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = hidden


@contextmanager
def taken(gpus: float) -> Iterator[None]:
    """Inside, somebody else holds so many of the cluster's GPUs."""
    import ray

    class Holder:
        def ready(self) -> None:
            pass

    holder = ray.remote(Holder).options(num_cpus=0, num_gpus=gpus).remote()
    ray.get(holder.ready.remote())
    try:
        yield
    finally:
        ray.kill(holder)
