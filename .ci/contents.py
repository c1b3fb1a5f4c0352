"""Check what is in the sdist and the wheel of a folder: everything that belongs there, and nothing else."""

import sys
import tarfile
from configparser import ConfigParser
from email import message_from_bytes
from email.policy import EmailPolicy
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent


def tree(folder: str, *patterns: str) -> set[str]:
    return {str(path.relative_to(ROOT)) for pattern in patterns for path in (ROOT / folder).rglob(pattern)}


def same(title: str, found: set[str], expected: set[str]) -> None:
    if found != expected:
        sys.exit(f"{title}: missing {sorted(expected - found)}, too much {sorted(found - expected)}")
    print(f"{title}: {len(found)} files")


(sdist,) = Path(sys.argv[1]).glob("*.tar.gz")
(wheel,) = Path(sys.argv[1]).glob("*.whl")
package = tree("statuslookup", "*.py", "py.typed")

with tarfile.open(sdist) as archive:
    top = sdist.name.removesuffix(".tar.gz")
    same(
        sdist.name,
        {file.name.removeprefix(f"{top}/") for file in archive if not file.isdir()},
        package
        | tree("tests", "*.py", "*.txt", "samples/*")
        | tree("benchmarks", "*.py")
        | tree("docs", "*.svg")
        | {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO"}
        | {".gitignore"},  # hatchling always adds it
    )

with ZipFile(wheel) as files:
    info = "-".join(wheel.name.split("-")[:2]) + ".dist-info"
    metadata = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    same(wheel.name, set(files.namelist()), package | {f"{info}/{name}" for name in metadata})

    entry_points = ConfigParser()
    entry_points.read_string(files.read(f"{info}/entry_points.txt").decode())
    assert entry_points["console_scripts"]["statuslookup"] == "statuslookup.__main__:main"

    fields = message_from_bytes(files.read(f"{info}/METADATA"), policy=EmailPolicy(utf8=True))
    assert fields["License-Expression"] == "MIT"
    assert fields["License-File"] == "LICENSE"
    assert fields["Description-Content-Type"] == "text/markdown"
    description = fields.get_payload(decode=True)
    assert description == (ROOT / "README.md").read_bytes(), "the description is not the README"
