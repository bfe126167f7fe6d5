"""The engines: every job once, whoever does it."""

from __future__ import annotations

import importlib
import math
import os
import signal
import subprocess
import sys
import time

import pytest

from unmask.engines import work_through
from unmask.errors import UnmaskError

JOBS = [float(number * number) for number in range(12)]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_once(workers):
    assert sorted(work_through(math.sqrt, JOBS, workers=workers)) == list(map(float, range(12)))


def test_no_jobs():
    assert list(work_through(math.sqrt, [], workers=2)) == []


def test_an_error_of_the_work_arrives():
    with pytest.raises(ValueError, match="math"):
        list(work_through(math.sqrt, [1.0, -1.0], workers=2))


WORKERS = """
import os, signal, sys, time
from pathlib import Path
from unmask.engines import work_through

def work(job):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(60)

if __name__ == "__main__":
    list(work_through(work, [1, 2, 3, 4], workers=2))
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are a matter of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_parent(tmp_path, sent):
    script, seen = tmp_path / "workers.py", tmp_path / "seen"
    script.write_text(WORKERS)
    seen.mkdir()
    # Whoever has the line's other end open keeps it open: the workers have it from their parent.
    line, inherited = os.pipe()
    with subprocess.Popen(
        [sys.executable, str(script), str(seen)], pass_fds=[inherited], stderr=inherited,
        # In the background of a shell Ctrl-C is ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as parent:  # fmt: skip
        os.close(inherited)
        while len(list(seen.iterdir())) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
        parent.send_signal(sent)
        assert parent.wait(20) == -sent
    # It ends when the last of the processes has ended.
    with os.fdopen(line, "rb") as everybody:
        everybody.read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers=0"),
        ({"engine": "spark"}, "engine='spark'"),
        ({"ray_address": "here:1"}, "engine='local', ray_address='here:1'"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        work_through(math.sqrt, JOBS, **options)


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # what Python does when it is not installed
    with pytest.raises(UnmaskError, match=r"unmask\[scale\]"):
        list(work_through(math.sqrt, JOBS, engine="ray"))


def test_no_cluster():
    pytest.importorskip("ray", reason="needs Ray: pip install 'unmask[scale]'")
    with pytest.raises(UnmaskError, match=r"answers at 127\.0\.0\.1:1 "):
        list(work_through(math.sqrt, JOBS, engine="ray", ray_address="127.0.0.1:1"))


@pytest.mark.slow
def test_ray():
    pytest.importorskip("ray", reason="needs Ray: pip install 'unmask[scale]'")
    answers = work_through(math.sqrt, JOBS, engine="ray", workers=2, jobs_a_task=5)
    assert sorted(answers) == list(map(float, range(12)))
    with pytest.raises(UnmaskError, match="Ray stopped"):
        list(work_through(math.sqrt, [-1.0], engine="ray"))
    assert not importlib.import_module("ray").is_initialized()
