import pytest

from unmask.errors import DataError
from unmask.synthesis.journal import Journal


def test_lines_come_back_in_order(tmp_path):
    with Journal(tmp_path / "new" / "j.jsonl") as journal:
        assert list(journal) == []
        journal.append({"file": "a"})
        journal.append({"file": "b\n"})
        assert list(journal) == [{"file": "a"}, {"file": "b\n"}]


def test_half_a_line_is_dropped_and_written_over(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text('{"n":1}\n{"n":2')
    journal = Journal(path)
    assert list(journal) == [{"n": 1}]
    journal.append({"n": 3})
    journal.close()
    assert path.read_text() == '{"n":1}\n{"n":3}\n'


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text('{"n":1}\nnot json\n{"n":3}\n')
    with pytest.raises(DataError, match=r"j\.jsonl: line 2"):
        list(Journal(path))


def test_removed(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    journal.append({})
    journal.remove()
    assert not journal.path.exists()
    assert list(journal) == []
