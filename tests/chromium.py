"""A browser without a window, to look at pages."""

import shutil
from pathlib import Path

NOT_INSTALLED = "no Chromium is installed"


def chromium(profile: Path) -> list[str] | None:
    """The start of a command that runs it, with a folder of its own for what it stores; None if there is none."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        return None
    return [found, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
