"""Print pip's constraints for the lowest versions that pyproject.toml allows to users."""

import re
import sys
import tomllib
from itertools import chain
from pathlib import Path

FLOOR = re.compile(r"(?P<name>[\w-]+)>=(?P<version>[\w.]+)(,<[\w.]+)?")

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
for requirement in chain(project["dependencies"], *project["optional-dependencies"].values()):
    floor = FLOOR.fullmatch(requirement)
    if floor is None:
        sys.exit(f"{requirement} has no floor")
    print(f"{floor['name']}=={floor['version']}")
