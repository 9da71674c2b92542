"""Show faces and their expressions, from a webcam by default.

    python -m live
    python -m live --source clip.mp4 --no-window --log faces.csv --save annotated.mp4
    python -m live --web 8000          a browser instead of a window, on this machine only
    python -m live --checkpoint ~/fer_runs/first/best

Keys: q or Escape quits, space pauses, s saves a snapshot, b toggles bars, m mirrors. It stores and sends nothing
unless an option asks for it.
"""

import os

from fer_data.commands import exit_with_code


def main() -> None:
    # Silence the messages of FFmpeg and Qt about damaged files and missing fonts; ours say what to do.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
    from live.options import parse

    options = parse(None, __doc__)
    # OpenCV takes a while to import, so the options are checked first.
    from live.session import run
    from live.terminal import Progress, fail_in_one_line, say, warn

    try:
        run(options, say, warn, Progress())
    except OSError as error:
        raise fail_in_one_line(error) from error


if __name__ == "__main__":
    exit_with_code(main)
