"""Give every worker of a run the addresses of all workers, for TensorFlow's collectives.

Ray's own TensorflowTrainer does the same, but also loads TensorFlow into the driver and Ray's controller, which costs
each of them seconds and half a gigabyte for nothing.
"""

import json
import os
import socket

import ray
from ray.train import BackendConfig
from ray.train.backend import Backend


class CollectivesConfig(BackendConfig):
    """Ray Train's configuration of a run whose ranks use `Collectives`."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _CollectivesBackend


class _CollectivesBackend(Backend):
    def on_start(self, worker_group, backend_config: BackendConfig) -> None:  # type: ignore[no-untyped-def]
        addresses = worker_group.execute(_free_address)
        ranks = range(len(worker_group))
        ray.get([worker_group.execute_single_async(rank, _set_tf_config, addresses, rank) for rank in ranks])


def _free_address() -> str:
    """HOST:PORT at which the other ranks will reach this one."""
    host = ray.util.get_node_ip_address()
    v6 = ":" in host
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    return f"[{host}]:{port}" if v6 else f"{host}:{port}"


def _set_tf_config(addresses: list[str], rank: int) -> None:
    cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": rank}}
    os.environ["TF_CONFIG"] = json.dumps(cluster)
