"""Seconds and memory of the search for near copies against the number of images, and what comparing all pairs adds.

python -m tests.benchmarks.bench_near_copies [--data PREPARED] [--rows 10000 35887 100000 300000]

Half of the images are those of the data set (drawn faces without --data), the other half transformed copies of them.
Each number of rows has a process of its own.
"""

import argparse
import subprocess
import sys
import time

COMPARED = 40_000
"""Up to so many images are also searched by comparing every pair, which takes minutes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a prepared data set")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 35_887, 100_000, 300_000])
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        measure(options.rows[0], options.data)
        return
    print(f"{'rows':>8} {'seconds':>8} {'ms a row':>9} {'peak MiB':>9} {'copies found':>13} {'of an exact search':>19}")
    for rows in options.rows:
        command = [sys.executable, "-m", "tests.benchmarks.bench_near_copies", "--here", "--rows", str(rows)]
        subprocess.run(command + (["--data", options.data] if options.data else []), check=True)


def measure(rows: int, data: str | None) -> None:
    """Print the line of `rows`."""
    import numpy as np

    from fer_data.near_copies import candidates as search
    from fer_data.near_copies.finder import find_copies
    from fer_data.rows import hashes_of
    from jobs.memory import peak_mib

    images = some_images(rows, data)
    hashes = hashes_of(images)
    began = time.perf_counter()
    copies = find_copies(images, hashes)
    seconds = time.perf_counter() - began
    peak = peak_mib()
    number = np.full(rows, -1)
    number[copies.row] = copies.photograph
    half = -(-rows // 2)  # As many originals.
    originals = number[: rows - half]
    together = (originals >= 0) & (originals == number[half:])

    share = "–"
    if rows <= COMPARED:
        search.EXACT = rows  # Every pair is compared.
        exact = find_copies(images, hashes)
        share = f"{len(np.intersect1d(copies.row, exact.row)) / max(1, len(exact.row)):.3f}"
    print(
        f"{rows:>8,} {seconds:>8.1f} {1000 * seconds / rows:>9.2f} {peak:>9.0f} {together.mean():>13.3f} {share:>19}",
        flush=True,
    )


def some_images(rows: int, data: str | None):
    """Images uint8 [rows, 48, 48, 1]: the second half are copies of the first, in the same order."""
    import numpy as np

    from fer_data.dataset import open_dataset
    from fer_data.drawing import draw
    from fer_data.rows import pixels_of
    from tests.fer_data.near_copies.transforms import TRANSFORMS

    half = -(-rows // 2)
    if data is None:
        originals = np.concatenate(
            [draw(np.arange(at, min(at + 4096, half)), 0)[0].reshape(-1, 48, 48) for at in range(0, half, 4096)]
        )
    else:
        dataset = open_dataset(data)
        groups = [group for usage in dataset.manifest.counts for group in dataset.row_groups(usage)]
        originals = np.concatenate([pixels_of(dataset.read(group, columns=("pixels",)))[..., 0] for group in groups])
        # A data set that is too small is used again, each time turned by another degree or two.
        turned = TRANSFORMS["some of everything"]
        dice = np.random.default_rng(1)
        more = [turned(image, dice) for image in originals[: max(0, half - len(originals))]]
        while len(originals) + len(more) < half:
            more += [turned(image, dice) for image in originals[: half - len(originals) - len(more)]]
        originals = np.concatenate([originals, *([np.stack(more)] if more else [])])[:half]
    dice = np.random.default_rng(0)
    transforms = list(TRANSFORMS.values())
    copies = [transforms[at % len(transforms)](image, dice) for at, image in enumerate(originals[: rows - half])]
    return np.concatenate([originals, np.stack(copies)])[..., None]


if __name__ == "__main__":
    main()
