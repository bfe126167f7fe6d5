"""The gender commands, as they are typed."""

from __future__ import annotations

import json

from unmask.cli import main


def test_evaluate_writes_tables_and_the_plot(face_data, tmp_path, capsys):
    arguments = ["--data", str(face_data / "faces"), "--masks", "1", "--out", str(tmp_path)]
    assert main(["evaluate", "gender", *arguments]) == 0
    figures = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert figures["report"]["masked"]["count"] == 8
    assert (tmp_path / "evaluation.md").read_text(encoding="utf-8") in capsys.readouterr().out
    assert (tmp_path / "reliability.png").stat().st_size > 5_000
