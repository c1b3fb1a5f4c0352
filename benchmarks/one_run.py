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
    from .scenario import Job
    from .scenarios import SCENARIOS

    print(json.dumps(SCENARIOS[scenario].contenders[contender].measure(Job(**json.loads(job)))))


if __name__ == "__main__":
    main()
