"""How a table of CSV is written, apart from its cells."""

from attrs import frozen


@frozen(kw_only=True)
class Dialect:
    """What a spreadsheet needs to open a table as it wrote one itself."""

    delimiter: str = ","
    line_end: str = "\n"
    has_mark: bool = False
    """True if it begins with UTF-8's byte order mark."""
    has_hint: bool = False
    """True if its first line is Excel's ``sep=;``."""
