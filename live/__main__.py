"""Watch faces and their expressions: a webcam's, by default.

    python -m live
    python -m live --source clip.mp4 --no-window --log faces.csv --save annotated.mp4
    python -m live --web 8000          a browser instead of a window, on this machine only
    python -m live --checkpoint ~/fer_runs/first/best

Keys: q or Escape quits, space pauses, s saves a snapshot, b toggles bars, m mirrors. Nothing is stored or sent
unless asked for.
"""

import os
import sys

from fer_data.errors import UserError


def main() -> None:
    """Run, and exit: 0 done, 1 failed, 2 a user's mistake, in one line."""
    # What FFmpeg and Qt say of a damaged file or of fonts; ours says what to do.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("QT_LOGGING_RULES", "*.warning=false")
    try:
        from live.options import parse
        from live.session import run
        from live.terminal import fail_in_one_line, say, warn

        options = parse(None, __doc__)
        try:
            run(options, say, warn)
        except OSError as error:
            raise fail_in_one_line(error) from error
    except UserError as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # Before there was a run to end.
        sys.exit(130)


if __name__ == "__main__":
    main()
