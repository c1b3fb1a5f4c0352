"""The options that say how tables are read and written."""

import codecs
import io

import click

from .options import CommandT, with_options
from .table.output import refused


def _output(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the file to write to, ``None`` for stdout."""
    if value == "":
        raise click.BadParameter("the name of the file is empty; '-' is stdout", param=parameter)
    if (problem := refused(value or "")) is not None:
        raise click.BadParameter(f"{value}: {problem}", param=parameter)
    return None if value == "-" else value


def _known_encoding(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        # Some codecs are none of texts, or cannot go on where the last piece ended.
        io.TextIOWrapper(io.BytesIO(), value)
        codecs.getincrementaldecoder(value)().decode(b" ")
    except (LookupError, ValueError):
        raise click.BadParameter(f"{value!r} is no encoding that Python knows", param=parameter) from None
    return value


def table_options(command: CommandT) -> CommandT:
    """Give a command the options that say how its input is read, and how its output is written."""
    options = (
        click.option(
            "-o",
            "--output",
            type=click.Path(dir_okay=False, allow_dash=True),
            callback=_output,
            help="Write to this file, not to stdout ('-'); without --resume, what it had is replaced.",
        ),
        click.option(
            "--format",
            "output_format",
            type=click.Choice(["jsonl", "csv"]),
            help="How to write; without it, the output's name says so (.tsv has tabs), or else it is jsonl.",
        ),
        click.option(
            "--csv-safe", is_flag=True, help="Write ' before a text that a spreadsheet takes for a formula."
        ),
    )
    return with_options(options, input_options(command))


def input_options(command: CommandT) -> CommandT:
    """Give a command the options that say how its input is read."""
    options = (
        click.option(
            "--input-format",
            type=click.Choice(["csv", "jsonl", "keys"]),
            help="How to read; without it, the first line says so.",
        ),
        click.option(
            "--encoding",
            metavar="NAME",
            callback=_known_encoding,
            help="What FILE is encoded in, such as cp850; else UTF-8, UTF-16 with its mark, or Windows-1252.",
        ),
        click.option("--key", metavar="COLUMN", help="The column with the key, whatever its name."),
        click.option(
            "--custom-ids", is_flag=True, help="One key a line, or --key: digits are customIds too, not ids."
        ),
    )
    return with_options(options, command)
