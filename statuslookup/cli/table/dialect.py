"""How a table of CSV is written, apart from its cells."""

from attrs import frozen


@frozen
class Dialect:
    """What a spreadsheet needs to open a table as it wrote one itself."""

    delimiter: str = ","
    line_end: str = "\n"
    has_mark: bool = False
    """True if it begins with UTF-8's byte order mark."""
