"""Print pip's constraints for the lowest versions that pyproject.toml allows."""

import re
import sys
import tomllib
from pathlib import Path

FLOOR = re.compile(r"(?P<name>[\w-]+)>=(?P<version>[\w.]+)(,<[\w.]+)?")

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"]
for requirement in [*project["dependencies"], *extras["cli"], *extras["sandbox"]]:
    floor = FLOOR.fullmatch(requirement)
    if floor is None:
        sys.exit(f"{requirement} has no floor")
    print(f"{floor['name']}=={floor['version']}")
