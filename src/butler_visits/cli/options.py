"""What several commands have: arguments, options, and where the program's own options stand.

``butler`` imports this at each start, to list its commands.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import click
from lsst.daf.butler.cli import opt
from lsst.daf.butler.cli.utils import ButlerCommand, MWArgumentDecorator

from .output import QUIET, make_logs_printable, quiet_logs, well_ended


class VisitsCommand(ButlerCommand):
    """A command of ``butler-visits``; ``butler`` may have it too."""

    extra_epilog = "Options of the program, such as --log-level, stand before the command's name."

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["-q", "--quiet"],
                is_flag=True,
                expose_value=False,
                callback=_set_quiet,
                help="Print errors only; the exit status says the rest.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        # astropy's notes on how it mends headers come for each file anew. The process is ours here.
        from astropy.utils.exceptions import AstropyWarning

        logging.getLogger("astropy").setLevel(logging.WARNING)
        warnings.simplefilter("ignore", AstropyWarning)
        make_logs_printable()
        with well_ended(ctx), quiet_logs() if ctx.meta.get(QUIET) else nullcontext():
            return super().invoke(ctx)


def _set_quiet(context: click.Context, _parameter: click.Parameter, is_quiet: bool) -> None:
    context.meta[QUIET] = is_quiet


def set_log_level() -> None:
    """Make our loggers follow --log-level, as the Butler's own do."""
    if (logger := logging.getLogger("butler_visits")).level == logging.NOTSET:
        logger.setLevel(logging.getLogger("lsst").getEffectiveLevel())
    for handler in logging.getLogger().handlers:
        # A file has the summary; on the terminal the command prints it.
        if type(handler) is logging.StreamHandler and _is_news not in handler.filters:
            handler.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether a log record says what the command does not print itself."""
    return not getattr(record, "is_summary", False)


def flag_option(name: str, help_text: str) -> Callable[[Any], Any]:
    """Return an option that is off unless it is asked for, and can be switched off again."""
    return click.option(f"--{name}/--no-{name}", default=False, help=help_text)


repo_argument = opt.repo_argument(required=True, help="REPO is the path or URI of a data repository.")
new_repo_argument = opt.repo_argument(
    required=True, help="REPO is the path or URI of a data repository; it is created if it is not there."
)
instrument_argument = MWArgumentDecorator(
    "instrument", help="INSTRUMENT is a registered instrument's name or full class name."
)(required=True)
config_file_option = opt.config_file_option(
    help="Path of a config file of define-visits, loaded after the instrument's own."
)
config_option = opt.config_option(help="Override of a config field, after the config file.", metavar="FIELD=VALUE")
collections_option = opt.collections_option(
    help="Collections to search for the camera, in this order, before the instrument's own."
)
visits_where_option = opt.where_option(
    help="Expression that selects exposures, like a SQL WHERE clause; only their visits are taken. The default is all."
)
dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what would be done, and write nothing to the repository."
)
plan_option = click.option(
    "--output",
    metavar="FILE",
    help="Write a table of the visits and what is done to them, .ecsv, .csv, .parquet, .fits, .vot or .xml (VOTable); "
    "or a page with a sky map of them, .html.",
)
instrument_option = click.option(
    "--instrument",
    metavar="NAME|FILE",
    help="The instrument that the files are of: a registered name, or a YAML file that describes it. By default the "
    "headers say it.",
)
transfer_option = click.option(
    "--transfer",
    type=click.Choice(["direct", "copy", "link", "symlink", "move"]),
    default="direct",
    show_default=True,
    help="What becomes of the files: they stay where they are, or are put into the repository. A link is a hard one, "
    "or symbolic where that is not possible.",
)
output_run_option = click.option(
    "--output-run", metavar="RUN", help="Run collection of the datasets. By default it is <instrument>/raw/all."
)
images_option = click.option(
    "--images/--no-images",
    default=None,
    help="Store an image, raw_image, beside each raw, from the same file. By default it is done where lsst-images is "
    "installed.",
)
keep_overscan_option = click.option(
    "--keep-overscan",
    is_flag=True,
    help="Store raw_image_untrimmed instead, with prescan and overscan.",
)
define_visits_option = click.option(
    "--define-visits", is_flag=True, help="Define the visits of these exposures too, incrementally."
)
format_option = click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Format of what is printed.",
)
translator_option = click.option(
    "--translator",
    metavar="MODULE",
    help="Python module with translators of headers (subclasses of astro_metadata_translator's MetadataTranslator), or "
    "a plugin's name. Those of installed plugins are found without it.",
)
update_records_option = flag_option(
    "update-records",
    "Replace exposures that are stored differently, instead of failing; with --define-visits also their visits, and "
    "those of the groups that they were in before.",
)
ingest_dry_run_option = click.option(
    "--dry-run", is_flag=True, help="Print what would be done, field by field of what is replaced, and write nothing."
)


def refuse_unused(options: Sequence[str], why: str) -> None:
    """Refuse options that were given on the command line and do nothing; in a file of options they may stay."""
    context = click.get_current_context()
    for option in options:
        source = context.get_parameter_source(option.removeprefix("--").replace("-", "_"))
        if source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} {why}")


def on_error_option(help_text: str) -> Callable[[Any], Any]:
    """Return the option that says what to do about what fails."""
    choice = click.Choice(["raise", "skip"])
    return click.option("--on-error", type=choice, default="raise", show_default=True, help=help_text)


ingest_on_error_option = on_error_option(
    "What to do about exposures that cannot be ingested: stop, or report them, ingest all others and exit with status "
    "1."
)


def image_choice(images: bool | None, keep_overscan: bool) -> Any:
    """Say which images are to be stored beside raws, as `ingest_raws` takes it."""
    if keep_overscan and images is False:
        raise click.UsageError(
            "--keep-overscan is about the images that --no-images leaves out; give one or the other."
        )
    return "untrimmed" if keep_overscan else {True: "trimmed", False: None, None: "auto"}[images]
