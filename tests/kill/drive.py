"""Starting a command, stopping it at a random moment, and calling it again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.kill.subjects import Subject, contents

ROOT = Path(__file__).parent.parent.parent
_LIMIT = 900.0


@dataclass
class Outcome:
    """What became of a command that was stopped several times.

    Attributes:
        rounds: How often it was stopped.
        during: How often it had not ended by itself before.
        slowest: The longest time until none of its processes was left, in seconds.
        failures: What went wrong.
    """

    rounds: int = 0
    during: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)


class Case:
    """A command in a folder, and what it does when nobody stops it.

    Args:
        subject: The command.
        folder: An empty folder.
    """

    def __init__(self, subject: Subject, folder: Path) -> None:
        self._folder, self.out = folder, folder / "out"
        self.arguments = subject.prepare(folder)
        start = time.monotonic()
        status = self.start().wait(_LIMIT)
        assert status == 0, self.log()[-2000:]
        self.seconds = time.monotonic() - start
        self.wanted = contents(self.out)

    def start(
        self, limit: Callable[[], None] | None = None, arguments: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """Start the command, or it with other arguments, in a session of its own."""

        def prepare() -> None:
            # In the background of a shell Ctrl-C is ignored, and that is inherited.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if limit:
                limit()

        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "unmask", *(arguments or self.arguments)],
                cwd=self._folder, env=environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=prepare,
            )  # fmt: skip

    def clear(self) -> None:
        """Remove the results, and what was said."""
        shutil.rmtree(self.out, ignore_errors=True)
        (self._folder / "log").unlink(missing_ok=True)

    def log(self) -> str:
        """Return what was said since."""
        return (self._folder / "log").read_text("utf-8", "replace")

    def stop(self, sent: int, after: float) -> tuple[bool, float]:
        """Start anew and send a signal after some seconds.

        Returns:
            Whether the command was still running, and how long its processes lived after it.
        """
        self.clear()
        process = self.start()
        try:
            process.wait(after)
            running = False
        except subprocess.TimeoutExpired:
            running = True
            process.send_signal(sent)
        begun = time.monotonic()
        while (process.poll() is None or _session(process.pid)) and _since(begun) < 30:
            time.sleep(0.02)
        lived = _since(begun)
        for orphan in _session(process.pid):
            os.kill(orphan, signal.SIGKILL)
        process.wait()
        return running, lived

    def differences(self) -> list[str]:
        """Call the command again, and tell what is not as if it had never been stopped."""
        status = self.start().wait(_LIMIT)
        if status:
            return [f"status {status}: {(self._folder / 'log').read_text()[-300:]}"]
        found = contents(self.out)
        names = sorted({*found, *self.wanted})
        return [f"{name} differs" for name in names if found.get(name) != self.wanted.get(name)]


def try_signal(case: Case, sent: int, rounds: int, *, again: bool, seed: int = 0) -> Outcome:
    """Stop a command at random moments.

    Args:
        case: The command.
        sent: The signal.
        rounds: How often.
        again: Whether to call it again and compare.
        seed: Seed of the moments.
    """
    rng, outcome = random.Random(seed), Outcome()
    for number in range(rounds):
        running, lived = case.stop(sent, case.seconds * rng.uniform(0.1, 1.0))
        outcome.rounds += 1
        outcome.during += running
        outcome.slowest = max(outcome.slowest, lived)
        if lived > 2.0 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)):
            outcome.failures.append(f"round {number}: processes were left after {lived:.1f} s")
        if again:
            outcome.failures += [f"round {number}: {text}" for text in case.differences()]
    return outcome


def _session(leader: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, session = (entry / "stat").read_text().rpartition(") ")[2].split()[:4]
            except OSError:  # it has just ended
                continue
            if int(session) == leader and state != "Z":
                found.append(int(entry.name))
    return found


def _since(begun: float) -> float:
    return time.monotonic() - begun
