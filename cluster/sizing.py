"""Estimate the time and cost of training on N workers, and where scaling stops, from the speed of one worker.

    python -m cluster.sizing --model resnet50 --rate 1500 --gbit 25 --price 0.8
    python -m cluster.sizing --model compact --rate 500 --gbit 10 --images 1000000
    python -m cluster.sizing --model compact --rate 49719 --card H200

`--rate` is `images_per_second` from the history of a run with one worker, on the machine to be used;
`python -m tests.benchmarks.bench_gpu` measures it for each network on a GPU. A step of a global batch B on N workers
takes B / (N · rate), and then the ring all-reduce of b bytes of gradients takes
2 (N - 1) / N · b / bandwidth + 2 (N - 1) · latency. The two do not overlap: all gradients are exchanged at once, after
the last one is computed. Once the all-reduce takes as long as the computation, more workers hardly help.

The search for near copies, once per data set, compares images on CPU cores (`prepare_data.py --workers`). Its time and
memory are those that `python -m tests.benchmarks.bench_near_copies` measured, extrapolated.

With `--card` it also prints the share of the GPU's peak that one worker reaches at that rate (MFU). If the share is
small, a larger batch or network costs less than more GPUs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fer_data.commands import Parser, exit_with_code, refusal
from fer_models.catalogue import NETWORKS

BYTES_PER_IMAGE = 2_335
"""Bytes of a prepared data set per image: FER-2013's 32,298 rows take 75 MB."""
SEARCH_SECONDS_PER_ROOT = 1.65e-5
"""Seconds of a core for an image, divided by the root of the number of images. Fitted to up to 300,000."""
SEARCH_BYTES_PER_IMAGE = 27_000


@dataclass(frozen=True)
class Link:
    """The network between workers: bytes per second each way, and latency in seconds."""

    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Step:
    """Seconds of one step: computing, and the all-reduce of the gradients."""

    compute: float
    reduce: float

    @property
    def seconds(self) -> float:
        return self.compute + self.reduce


def step(workers: int, *, rate: float, batch: int, gradient_bytes: int, link: Link) -> Step:
    """A step of `batch` images on `workers` workers that each compute `rate` images per second."""
    hops = 2 * (workers - 1)
    return Step(batch / (workers * rate), hops / workers * gradient_bytes / link.bandwidth + hops * link.latency)


def useful_workers(*, rate: float, batch: int, gradient_bytes: int, link: Link) -> int:
    """The largest number of workers for which computing takes at least as long as the all-reduce."""
    workers = 1
    while workers < batch:
        more = step(workers + 1, rate=rate, batch=batch, gradient_bytes=gradient_bytes, link=link)
        if more.reduce > more.compute:
            break
        workers += 1
    return workers


def use_of_card(model: str, rate: float, card: str, precision: str) -> str:
    """The TFLOP/s of one worker at `rate` images per second, and its share of the peak of `card`."""
    from jobs.training.throughput import peak_tflops, tflops  # Light, but from a folder above this one.

    done, peak = tflops(NETWORKS[model].multiply_adds, rate), peak_tflops(card, precision)
    share = f"{done / peak:.1%} of the peak of {card} in {precision}" if peak else f"the peak of {card} is not known"
    return f"one worker: {done:.1f} TFLOP/s, {share}"


def search_for_copies(images: int) -> str:
    """The time and memory of looking for near copies among `images`."""
    hours = SEARCH_SECONDS_PER_ROOT * images**1.5 / 3600
    memory = images * SEARCH_BYTES_PER_IMAGE / 1e9
    return f"near copies: {hours:.2g} core-hours, {memory:.2g} GB of memory"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = Parser("python -m cluster.sizing", description=__doc__)
    parser.add_argument("--model", choices=list(NETWORKS), required=True)
    parser.add_argument("--rate", type=float, required=True, help="images per second of one worker, measured")
    parser.add_argument("--card", help="the worker's GPU, such as H200: also print the share of its peak")
    parser.add_argument(
        "--precision",
        choices=("mixed_bfloat16", "mixed_float16", "float32"),
        default="mixed_bfloat16",
        help="precision of the training that --rate measured (mixed_bfloat16)",
    )
    parser.add_argument("--gbit", type=float, default=10.0, help="network bandwidth in Gbit/s each way (10)")
    parser.add_argument("--latency", type=float, default=50e-6, help="network latency in seconds (50e-6)")
    parser.add_argument(
        "--batch", type=int, default=256, help="global batch, or with --per-worker that of each worker (256)"
    )
    parser.add_argument("--per-worker", action="store_true", help="the global batch grows with the workers")
    parser.add_argument("--images", type=int, default=28_709, help="training images (FER-2013's 28,709)")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--price", type=float, default=0.0, help="price of a worker per hour")
    options = parser.parse_args(argv)
    for name in ("rate", "gbit", "batch", "images", "epochs"):
        if not getattr(options, name) > 0:
            raise refusal(f"--{name} must be above 0 (it is {getattr(options, name)})")
    link = Link(options.gbit * 1e9 / 8, options.latency)
    network = NETWORKS[options.model]
    gradient_bytes = 4 * network.trainable_parameters
    print(
        f"{options.model}: {network.multiply_adds / 1e6:.0f} M multiply-adds an image, "
        f"{gradient_bytes / 1e6:.1f} MB of gradients, {options.images:,} images "
        f"({options.images * BYTES_PER_IMAGE / 1e9:.2g} GB prepared), {options.epochs} epochs"
    )
    print(search_for_copies(options.images))
    if options.card:
        print(use_of_card(options.model, options.rate, options.card, options.precision))
    print("workers   batch  compute ms  reduce ms  images/s  efficiency      hours      cost")
    for workers in (1, 2, 4, 8, 16, 32, 64):
        batch = options.batch * (workers if options.per_worker else 1)
        if batch < workers:
            break
        one = step(workers, rate=options.rate, batch=batch, gradient_bytes=gradient_bytes, link=link)
        rate = batch / one.seconds
        hours = options.images * options.epochs / rate / 3600
        print(
            f"{workers:7} {batch:7} {1e3 * one.compute:11.1f} {1e3 * one.reduce:10.1f} {rate:9,.0f} "
            f"{rate / (workers * options.rate):11.0%} {hours:10.3f} {hours * workers * options.price:9.2f}"
        )
    if not options.per_worker:
        most = useful_workers(rate=options.rate, batch=options.batch, gradient_bytes=gradient_bytes, link=link)
        print(f"beyond {most} workers, summing gradients takes longer than computing a batch of {options.batch}")


if __name__ == "__main__":
    exit_with_code(main)
