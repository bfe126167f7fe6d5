"""Stopped commands, full disks and crowded folders; `make kill` stops all commands, and oftener."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from tests.kill.drive import Case, try_signal
from tests.kill.subjects import SUBJECTS, contents

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


def make(name: str, folder: Path) -> Case:
    return Case(next(s for s in SUBJECTS if s.name == name), folder)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    return make("labelme", tmp_path_factory.mktemp("labelme"))


@pytest.fixture(scope="module")
def workers(tmp_path_factory) -> Case:
    """A command with several processes."""
    return make("synthesize", tmp_path_factory.mktemp("synthesize"))


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_is_stopped_ends_at_once_and_goes_on(workers: Case, sent: int) -> None:
    found = try_signal(workers, sent, 1, again=sent == signal.SIGKILL, seed=1)
    assert found.failures == []


def test_a_full_disk_is_an_error_that_names_the_file(case: Case) -> None:
    largest = max(len(content) for content in case.wanted.values())
    size = largest // 2

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a full disk: an error of `write`
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    case.clear()
    process = case.start(full)
    assert process.wait(120) in (1, 2)
    assert "File too large" in case.log()
    assert "Traceback" not in case.log()
    assert case.differences() == []


@pytest.mark.skipif(os.name != "posix", reason="needs /proc")
def test_a_folder_that_cannot_be_written_is_named_at_once(case: Case) -> None:
    # Nobody can make files there, whoever it is.
    words = [word.replace("out", "/proc/out") for word in case.arguments]
    process = case.start(arguments=words)
    assert process.wait(120) == 2
    assert "/proc" in case.log()
    assert "Traceback" not in case.log()


def test_two_of_them_in_one_folder_do_not_spoil_it(case: Case) -> None:
    case.clear()
    both = [case.start(), case.start()]
    assert [process.wait(120) for process in both] == [0, 0], case.log()
    assert contents(case.out) == case.wanted
