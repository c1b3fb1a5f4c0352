"""Cells of CSV: how long they may be, and quotes that are not closed."""

import csv

import pytest

from statuslookup.cli.table.cells import large_cells
from statuslookup.cli.table.unpacking import InputError
from tests.support.tables import rows


@pytest.mark.parametrize(
    ("torn", "last"),
    [('2,"torn\n3,\n4,\n', 5), ('2,"torn\n3,\n4,"x"\n5,\n', 5), ('2,"a\nb","torn\n4,\n', 5)],
    ids=["to the end", "to the next quote", "after a good one"],
)
def test_a_quote_that_is_not_closed_is_a_row_that_names_all_its_lines(torn: str, last: int) -> None:
    first, bad, *others = rows(f"id,n\n1,\n{torn}")
    assert first.key == 1
    assert bad.error == (
        f"lines 3 to {last}: a quote of the row that begins in line 3 is not closed, or not at the end of"
        f" its cell; no row up to line {last}"
        ' was looked up; close it, or write a quote inside quotes as ""'
    )
    assert [row.key for row in others] == [5] * ("5," in torn)


def test_a_quote_that_is_not_closed_in_the_last_line_or_the_header_says_what_to_do() -> None:
    *_, bad = rows('id,n\n1,\n2,"torn')
    assert bad.error == 'line 3: a quote is not closed; close it, or write a quote inside quotes as ""'
    with pytest.raises(InputError, match="the header is not CSV: a quote is not closed; close it"):
        rows('id,"n\n1,\n')


@pytest.mark.parametrize("before", ["2,", "2," + "x" * 500_000 + ","], ids=["short", "long"])
def test_a_quote_that_is_not_closed_costs_no_more_than_128_kib_of_rows(before: str) -> None:
    good = [f"{id:04},{'x' * 90}" for id in range(3, 10_000)]
    with large_cells():
        bad, *others = rows(f'id,n,o\n{before}"torn\n' + "\n".join(good))
    assert bad.error is not None
    assert "is not closed" in bad.error
    assert [row.key for row in others] == list(range(others[0].line, 10_000))
    assert others[0].line == 3 + 2**17 // len(f"{good[-1]}\n") + 1


def test_many_quotes_that_are_not_closed_are_read_in_linear_time() -> None:
    found = rows("id,n\n" + '",a","b\n' * 200_000)
    assert all("is not closed" in (row.error or "") for row in found)
    assert found[-1].line > 100_000


@pytest.mark.parametrize(
    "cell",
    ["x" * (2**20 - 10), "x" * 500_000 + "\n" + "y" * 500_000, "x\n" * 65_000],
    ids=["a line", "two lines", "many lines"],
)
def test_a_cell_may_be_as_long_as_a_line(cell: str) -> None:
    with large_cells():
        first, long, last = rows(f'id,n\n1,\n2,"{cell}"\n3,\n')
    assert (first.key, long.key, last.key) == (1, 2, 3)
    assert long.values["n"] == cell


def test_the_bound_of_a_cell_is_the_old_one_afterwards() -> None:
    before = csv.field_size_limit()
    with large_cells():
        assert csv.field_size_limit() > before
    assert csv.field_size_limit() == before
