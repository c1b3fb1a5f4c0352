"""The way in to the command line, also where its extra is not installed."""

import sys

from .cli.exit_codes import INTERRUPTED, USAGE


def main() -> None:
    """Run the command line, or say in one line what to install for it."""
    try:
        from .cli.main import commands
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich", "dotenv"):
            raise
        # These need one extra more; nobody should have to be told twice.
        extras = "cli,sandbox" if {"demo", "sandbox"} & set(sys.argv[1:]) else "cli"
        sys.stderr.write(f'The command line needs its extra: pip install "statuslookup[{extras}]"\n')
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(INTERRUPTED)
    commands()


if __name__ == "__main__":
    main()
