"""The process of one run: ``python -m benchmarks.one_run FOLDER SCENARIO CONTENDER JOB`` prints its figures.

``FOLDER`` is one with another version of the library, or empty.
"""

import json
import sys


def main() -> None:
    folder, scenario, contender, job = sys.argv[1:]
    if folder:
        sys.path.insert(0, folder)
    # Only now, because the scenarios import the library.
    from .scenario import FAST, Job
    from .scenarios import SCENARIOS

    found = SCENARIOS[scenario].contenders[contender]
    if found.needs != FAST:
        # Without the extra, which the library uses where it is installed.
        sys.modules[FAST] = None  # type: ignore[assignment] # that is how Python takes it for missing
    print(json.dumps(found.measure(Job(**json.loads(job)))))


if __name__ == "__main__":
    main()
