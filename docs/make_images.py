"""Make the pictures of the documentation, in docs/images: ``python docs/make_images.py``, and then look at them.

The picture of the page needs Chromium, and Playwright for Python; ``--no-page`` leaves it as it is.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner

DOCS: Final = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent / "demo")]

from backyard import write_night  # noqa: E402
from butler_visits.cli.program import butler_visits  # noqa: E402
from simulated_survey import INSTRUMENT, insert_exposures, make_repository, night  # noqa: E402

IMAGES: Final = DOCS / "images"
BACKYARD: Final = "ZWO-ASI2600MM-Pro"
PAGE_SIZE: Final = (1280, 840)
DPI: Final = 70


def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as folder:
        made = make_images(Path(folder))
        if "--no-page" not in sys.argv:
            made.append(make_page_image(Path(folder)))
        IMAGES.mkdir(exist_ok=True)
        for file in made:
            shutil.copy(file, IMAGES / file.name)
            print(f"{IMAGES / file.name}: {file.stat().st_size // 1000} kB")


def make_images(folder: Path) -> list[Path]:
    """Draw all pictures but the page's into a folder, as a user would."""
    import matplotlib

    # Files for pages, not for print.
    with matplotlib.rc_context({"savefig.dpi": DPI}):
        write_night(folder / "frames")
        _run("describe", str(folder / "frames"), "--write", str(folder / "backyard.yaml"))
        backyard = str(folder / "backyard")
        description = str(folder / "backyard.yaml")
        _run("ingest", backyard, str(folder / "frames"), "--instrument", description, "--define-visits")
        survey = str(_survey(folder))
        first = next(one for one in night() if one["observation_type"] == "science")
        files = {
            "backyard.png": ["plot", backyard, BACKYARD, "--where", "exposure.target_name = 'M 51'"],
            "bands.png": ["plot", backyard, BACKYARD, "--colour", "band", "--ecliptic"],
            "coverage.png": ["plot", survey, INSTRUMENT, "--galactic-plane", "--ecliptic"],
            "visit.png": ["plot", survey, INSTRUMENT, "--visit", str(first["id"])],
        }
        for name, command in files.items():
            _run(*command, "-o", str(folder / name))
        _run("show-camera", str(DOCS / "examples" / "quadcam_camera.yaml"), "--plot", str(folder / "camera.png"))
    made = [folder / name for name in (*files, "camera.png")]
    for file in made:
        _shrink(file)
    return made


def make_page_image(folder: Path) -> Path:
    """Take a picture of a page, with all its colours: panels are hardly darker than paper."""
    from playwright.sync_api import sync_playwright

    page_file, picture = folder / "visits.html", folder / "page.png"
    survey = folder / "survey"
    _run("report", str(survey if survey.exists() else _survey(folder)), INSTRUMENT, "-o", str(page_file))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        width, height = PAGE_SIZE
        page: Any = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready=yes]")
        page.wait_for_timeout(500)
        page.screenshot(path=str(picture))
        browser.close()
    return picture


def _survey(folder: Path) -> Path:
    """Make a repository of the simulated survey with its visits."""
    survey = folder / "survey"
    insert_exposures(make_repository(survey), night())
    _run("define-visits", str(survey), INSTRUMENT)
    return survey


def _run(*arguments: str) -> None:
    """Run a command of the program in this process."""
    result = CliRunner().invoke(butler_visits, list(arguments))
    if result.exit_code:
        sys.exit(f"{' '.join(arguments)}:\n{result.output}")


def _shrink(file: Path) -> None:
    """Let a picture have 256 colours, with which it looks the same."""
    from PIL import Image

    with Image.open(file) as image:
        # A colour of a few pixels, as that of a thin line, is kept too; by the median it would not be.
        few = image.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, optimize=True)


if __name__ == "__main__":
    main()
