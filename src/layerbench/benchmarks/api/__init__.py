"""``layerbench`` as a library: what its commands do, as functions that print no tables.

The names are found in ``layerbench`` itself; ``docs/api.md`` shows each. What a command would
print as one line is raised: a ``UserError`` for a mistake, a ``FailedError`` for a run that failed.
The same call again goes on with what was interrupted, and reads what is finished.
"""

from layerbench.benchmarks.api.environments import make_env
from layerbench.benchmarks.api.runs import evaluate, run
from layerbench.benchmarks.api.sweeps import sweep, tune
from layerbench.benchmarks.api.tables import compare, contributions, load_records

__all__ = [
    "compare",
    "contributions",
    "evaluate",
    "load_records",
    "make_env",
    "run",
    "sweep",
    "tune",
]
