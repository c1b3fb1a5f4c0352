"""``pytest @tests/core.txt`` runs the tests of all that the package gives without an extra."""

import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent

EXTRAS = ["click", "dotenv", "httpx2", "rich", "starlette", "uvicorn"]

# Their imports need no extra, but the programs that they start do.
NOT_CORE = {"tests.docs.test_readme"}

IMPORT_EACH_WITHOUT_EXTRAS = """
import sys
from importlib import import_module
extras, *names = sys.argv[1:]
sys.modules.update(dict.fromkeys(extras.split(",")))
for name in names:
    try:
        import_module(name)
    except ImportError:
        continue
    print(name)
"""


def test_the_core_tests_are_those_that_need_no_extra() -> None:
    paths = sorted(path.relative_to(TESTS.parent) for path in TESTS.rglob("test_*.py"))
    names = [".".join(path.with_suffix("").parts) for path in paths]
    names = [name for name in names if name not in NOT_CORE]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH_WITHOUT_EXTRAS, ",".join(EXTRAS), *names],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    needing_no_extra = [f"{name.replace('.', '/')}.py" for name in done.stdout.split()]
    assert (TESTS / "core.txt").read_text(encoding="utf-8").splitlines() == needing_no_extra
