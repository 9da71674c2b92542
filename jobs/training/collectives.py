"""What the ranks of one run exchange: sums and gathered arrays, through TensorFlow's collectives."""

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from cluster.loopback import close_to_network, guarded


class Collectives:
    """Sums and gathers over all ranks; every rank must make the same calls in the same order.

    Variables are ordinary ones, created outside the strategy's scope. The strategy only transfers tensors: by NCCL
    between GPUs, by a gRPC ring between CPUs. With one rank nothing is exchanged and no server is started.
    """

    def __init__(self, rank: int, world_size: int) -> None:
        self.rank = rank
        self.world_size = world_size
        self._strategy: Any = None
        if world_size > 1:
            port = _local_port()
            if port is None:
                self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
                return
            os.environ["TF_GRPC_REUSE_PORT"] = "1"
            with guarded(port):
                self._strategy = tf.distribute.MultiWorkerMirroredStrategy()
                close_to_network(port)

    def sum(self, tensor: tf.Tensor) -> tf.Tensor:
        """The sum of `tensor` over all ranks, bit for bit equal on each. For use inside a `tf.function`."""
        if self._strategy is None:
            return tensor

        def in_replica(value: tf.Tensor) -> tf.Tensor:
            # The identity places the tensor on the replica's device, which the reduction needs.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))

        return self._strategy.run(in_replica, args=(tensor,))

    def sum_timed(self, tensors: Sequence[tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The float32 `tensors`, each summed over all ranks in one exchange, and its seconds, a float64 scalar.

        For use inside a `tf.function`. The time starts when this rank's tensors are computed, so that it includes
        waiting for the slowest rank, but no time of the host.
        """
        flat = tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], axis=0)
        began = _moment(flat)
        flat = self.sum(flat)
        seconds = _moment(flat) - began
        parts = tf.split(flat, [int(np.prod(tensor.shape)) for tensor in tensors])
        return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)], seconds

    def average_variables(self, variables: list) -> None:
        """Set float variables to their mean over the ranks, in one exchange."""
        if self._strategy is None or not variables:
            return
        flat = self._sum_now(tf.concat([tf.reshape(v, [-1]) for v in variables], axis=0)) / self.world_size
        sizes = [int(np.prod(v.shape)) for v in variables]
        for variable, values in zip(variables, tf.split(flat, sizes), strict=True):
            variable.assign(tf.reshape(values, variable.shape))

    def gather_rows(self, rows: np.ndarray) -> np.ndarray:
        """The rows of every rank, in order of rank: float32 [n, k] on each becomes float32 [sum of n, k]."""
        if self._strategy is None:
            return rows
        counts = self._gather_now(tf.constant([[len(rows)]], tf.int32)).numpy()[:, 0]
        padded = np.zeros((int(counts.max()), rows.shape[1]), np.float32)
        padded[: len(rows)] = rows
        shares = np.split(self._gather_now(tf.constant(padded)).numpy(), self.world_size)
        return np.concatenate([share[:count] for share, count in zip(shares, counts, strict=True)])

    def gather_ints(self, values: list[int]) -> np.ndarray:
        """Every rank's values (each below 2^31): int32 [world size, number of values]."""
        if self._strategy is None:
            return np.array([values], np.int32)
        return self._gather_now(tf.constant([values], tf.int32)).numpy()

    @tf.function(reduce_retracing=True)
    def _sum_now(self, tensor: tf.Tensor) -> tf.Tensor:
        return self.sum(tensor)

    @tf.function(reduce_retracing=True)
    def _gather_now(self, tensor: tf.Tensor) -> tf.Tensor:
        def in_replica(value: tf.Tensor) -> tf.Tensor:
            return tf.distribute.get_replica_context().all_gather(tf.identity(value), axis=0)

        return self._strategy.run(in_replica, args=(tensor,))


def _moment(computed: tf.Tensor) -> tf.Tensor:
    """The time when the last value of `computed`, float32 [n], reached the host's memory: seconds, float64 scalar."""
    with tf.device("CPU:0"), tf.control_dependencies([tf.identity(computed[-1])]):
        return tf.timestamp()


def _local_port() -> int | None:
    """TensorFlow's port if all ranks are on this machine, so that no other needs to reach it."""
    config = json.loads(os.environ["TF_CONFIG"])
    addresses = config["cluster"]["worker"]
    if not all(address.startswith("127.") for address in addresses):
        return None
    return int(addresses[config["task"]["index"]].rpartition(":")[2])
