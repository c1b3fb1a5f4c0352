"""Where a check writes to: what is there when writing fails."""

import subprocess
import sys
from pathlib import Path

import pytest


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
