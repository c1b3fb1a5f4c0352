"""Where a check writes to: what is there when writing fails."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from statuslookup.cli.table.encodings import JsonLines
from statuslookup.cli.table.sinks import StreamSink


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of a file's size")
def test_a_disk_that_fills_up_leaves_whole_rows(tmp_path: Path) -> None:
    program = """
import resource, sys
from statuslookup.cli.table.encodings import JsonLines
from statuslookup.cli.table.sinks import FileSink
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sink = FileSink(sys.argv[1], JsonLines(), resume=False)
try:
    for _ in range(100):
        sink.write(b"x" * 149 + b"\\n" + b"x" * 149 + b"\\n")
except OSError as error:
    print(error.strerror)
"""
    path = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "File too large\n"
    assert path.read_bytes() == (b"x" * 149 + b"\n") * 6


class Interrupted(io.RawIOBase):
    """Takes so many bytes at a time, as a pipe that is full does where signals come."""

    def __init__(self, most: int | None) -> None:
        self.most = most
        self.taken = b""

    def write(self, data: Any) -> int | None:
        if self.most is None:
            return None
        self.taken += bytes(data[: self.most])
        return min(self.most, len(data))


def test_a_write_that_ends_early_goes_on_where_it_ended() -> None:
    """So it does with PYTHONUNBUFFERED, where nothing stands between the rows and the pipe."""
    stream: Any = Interrupted(7)
    StreamSink(stream, JsonLines()).write(b"a row that is longer\n" * 5)
    assert stream.taken == b"a row that is longer\n" * 5


def test_a_stream_that_takes_nothing_is_an_error_and_no_loss() -> None:
    stream: Any = Interrupted(None)
    with pytest.raises(BlockingIOError):
        StreamSink(stream, JsonLines()).write(b"a row\n")
