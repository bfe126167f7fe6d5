"""The list of matterport's names says what is true of this package, and the page says the same."""

from __future__ import annotations

from pathlib import Path

from tools.mrcnn_names import Name, fault, page, read_names

PAGE = Path(__file__).parents[2] / "docs" / "mrcnn.md"


def test_every_name_is_as_the_list_says() -> None:
    names = list(read_names())
    assert [text for text in map(fault, names) if text] == []
    assert sum(name.here for name in names) >= 170
    assert len({name.path for name in names}) == len(names)


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text


def test_a_wrong_list_is_noticed() -> None:
    assert fault(Name("utils.resize", ["image", "shape"], "")) is not None
    assert fault(Name("utils.resize", None, "no: gone")) == "utils.resize is here"
    assert fault(Name("utils.Dataset.shuffle", None, "")) == "utils.Dataset.shuffle is not here"
