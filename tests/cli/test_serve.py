"""`unmask serve` refuses nonsense before it loads anything."""

from __future__ import annotations

import importlib.util

import pytest

from unmask.cli import main


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--port", "70000"], "port"),
        (["--max-bytes", "0"], "max-bytes"),
        (["--seconds", "nan"], "seconds"),
        (["--weights-dir", "missing"], "missing"),
        (["--preset", "huge", "--api-only"], "huge"),
    ],
)
def test_nonsense_is_refused(capsys: pytest.CaptureFixture[str], words: list[str], text: str):
    if "huge" in words and importlib.util.find_spec("fastapi") is None:
        pytest.skip("needs the extra `app`")
    assert main(["serve", *words]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("gradio") is not None, reason="gradio is installed")
def test_the_page_says_what_is_missing(capsys: pytest.CaptureFixture[str]):
    assert main(["serve"]) == 2
    assert "unmask[app]" in capsys.readouterr().err
