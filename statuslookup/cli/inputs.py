"""The file with the messages, as every command that takes one reads it."""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from .._model import KeyT
from ..providers import Provider
from .display import reason_of
from .providers import ENTRIES, Entry
from .table.keys import Keys
from .table.lines import Lines
from .table.reading import Opened, open_input
from .table.rows import Input
from .table.unpacking import InputError

file_argument = click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))


def keys_of(entry: Entry[KeyT, Any], options: Mapping[str, Any]) -> Keys[KeyT]:
    """Return how the options say that keys are written, or say in a usage error that it cannot be."""
    keys = entry.keys
    if options["custom_ids"]:
        if entry.keys_by_name is None:
            owners = " and ".join(other.brand for other in ENTRIES if other.keys_by_name is not None)
            raise click.UsageError(f"--custom-ids is {owners}'s")
        keys = entry.keys_by_name
    return keys if options["key"] is None else keys.only(options["key"])


def opened(context: click.Context, file: str) -> Opened:
    """Open a file or, as ``-``, stdin, until the command ends; what cannot be opened is a usage error."""
    if file == "-" and sys.stdin is None:
        raise click.UsageError("stdin is closed")
    try:
        opened = open_input(file)
    except OSError as error:
        raise click.UsageError(reason_of(error)) from error
    if opened.raw is not None:
        context.with_resource(opened.raw)
    return opened


@contextmanager
def usage_errors(opened: Opened) -> Generator[None]:
    """Turn what is wrong with an input into a usage error that names it."""
    try:
        yield
    except InputError as error:
        raise click.UsageError(f"{opened.name or 'stdin'}: {error}") from None


def source_of(
    opened: Opened, keys: Keys[KeyT], provider: Provider[KeyT, Any], options: Mapping[str, Any]
) -> Input[KeyT]:
    """Return the rows of an input, or raise an ``InputError`` if it or an option for it makes no sense."""
    lines = Lines(opened.read, encoding=options["encoding"])
    source = Input(lines, keys, provider.check, format=options["input_format"], name=opened.name)
    if source.is_empty:
        return source
    if options["key"] is not None and source.format == "keys":
        raise InputError("--key names a column of CSV or JSON Lines, and this is one key a line")
    if options["custom_ids"] and source.format != "keys" and source.keys.chosen is None:
        raise InputError("--custom-ids is for one key a line; name the column custom_id instead")
    return source
