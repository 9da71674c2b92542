"""Memory and speed of `python -m live` on an hour of video, with a log and a page.

    python -m tests.benchmarks.bench_video [--minutes 60]

Writes a minute of 640×480 frames with one face at 30 frames a second, repeats it, and reads it with `live`. Prints the
memory after a tenth of the way and its peak, how many times faster than the clock it went, and the size of what it
wrote. Takes about seven minutes on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import psutil
import pyarrow.parquet as pq

from tests.conftest import REPOSITORY
from tests.live.scenes import walk, write_video

RATE = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-video-") as name:
        folder = Path(name)
        video, log, page = folder / "long.mp4", folder / "log.parquet", folder / "page.html"
        repeated(write_video(folder / "minute.mp4", walk(60 * RATE), RATE), video, options.minutes)
        command = [sys.executable, "-m", "live", "--source", video, "--no-window", "--log", log, "--report", page]
        began = time.monotonic()
        live = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL)
        memory = resident(live)
        seconds = time.monotonic() - began
        if live.returncode:
            sys.exit(f"live ended with {live.returncode}")
        rows = pq.read_metadata(log).num_rows
        written = f"log {log.stat().st_size / 2**20:.1f} MiB, page {page.stat().st_size / 2**20:.1f} MiB"
    print(
        f"{options.minutes} minutes of video in {seconds:.0f} s: {60 * options.minutes / seconds:.1f} times the clock"
    )
    print(f"{rows:,} rows of {60 * RATE * options.minutes:,} frames; {written}")
    early = max(memory[: max(len(memory) // 10, 1)])
    print(f"memory: {early:.0f} MiB after a tenth, {max(memory):.0f} MiB at its peak")


def repeated(minute: str, video: Path, times: int) -> None:
    """The frames of `minute` several times, as they were encoded."""
    with av.open(str(video), "w") as out, av.open(minute) as first:
        stream = out.add_stream_from_template(first.streams.video[0])
        for number in range(times):
            with av.open(minute) as source:
                own = source.streams.video[0]
                offset = round(number * 60 / own.time_base)
                for packet in source.demux(own):
                    if packet.dts is not None:
                        packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                        packet.stream = stream
                        out.mux(packet)


def resident(process: subprocess.Popen) -> list[float]:
    """Its memory in MiB, twice a second until it ends."""
    watched, memory = psutil.Process(process.pid), []
    while process.poll() is None:
        try:
            memory.append(watched.memory_info().rss / 2**20)
        except psutil.NoSuchProcess:
            break
        time.sleep(0.5)
    process.wait()
    return memory


if __name__ == "__main__":
    main()
