"""`make kill`: commands are stopped at random moments and called again; a table of the outcome.

    python -m tests.kill [ROUNDS] [COMMAND ...]

After `kill -9` the results have to be those of a command that nobody stopped, byte for byte but for
times, with no file beside them and no process left. SIGTERM and Ctrl-C have to end it in 2 s.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.kill.drive import Case, try_signal
from tests.kill.subjects import SUBJECTS

_SIGNALS = ((signal.SIGKILL, True), (signal.SIGTERM, False), (signal.SIGINT, False))


def main(arguments: Sequence[str]) -> int:
    """Print the table; the exit status is 1 if there was a failure."""
    rounds = int(arguments[0]) if arguments else 10
    print(f"| {'command':10} | {'signal':7} | sent | while running | slowest end | failures |")
    print("|---|---|---:|---:|---:|---:|", flush=True)
    failed = False
    for subject in SUBJECTS:
        if arguments[1:] and subject.name not in arguments[1:]:
            continue
        with tempfile.TemporaryDirectory() as folder:
            case = Case(subject, Path(folder))
            for sent, again in _SIGNALS:
                found = try_signal(case, sent, rounds if again else min(rounds, 3), again=again)
                row = f"{found.rounds:4} | {found.during:13} | {found.slowest:9.1f} s"
                print(f"| {subject.name:10} | {sent.name:7} | {row} | {len(found.failures):8} |")
                for text in found.failures:
                    print(f"    {text}")
                sys.stdout.flush()
                failed |= bool(found.failures)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
