"""The page stands by itself, shows what was found, and harms nobody who opens it."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from stream_profiles import Event
from stream_profiles.errors import SettingsError
from stream_profiles.evaluation import Evaluated, EvaluateOptions, evaluate
from stream_profiles.evaluation.page import check_page, page_of, write_page

from . import streams

pytest.importorskip("matplotlib")


def evaluated(folder: Path, lines: list[Event], **options: int) -> Evaluated:
    file = streams.write(folder / "shop.jsonl", lines)
    return evaluate([file], streams.definition(), options=EvaluateOptions(**options))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    return evaluated(tmp_path_factory.mktemp("shop"), streams.events(2_500))


@pytest.fixture(scope="module")
def page(found: Evaluated) -> str:
    return page_of(found)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of a shop whose data does its worst."""
    found = evaluated(tmp_path_factory.mktemp("strange"), streams.strange_events())
    found.report.files[0] = "<img src=x onerror=alert(1)>.jsonl"
    return page_of(found)


class Page(HTMLParser):
    """What a browser would make of it: elements, ids, where it points to, and what a person reads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_all_of_it_is_shown(found: Evaluated, page: str) -> None:
    read = Page(page)
    assert read.open == []
    for words in ("ROC curve", "Precision and recall", "Calibration", "Cumulative gain", "Lift", "Scores"):
        assert words in read.text
    for words in ("Confusion", "Predicted against actual", "Mean absolute error over time", "Log-loss over time"):
        assert words in read.text
    for words in ("Segments at the end", "Clusters at the end", "Scores of odd", "standard error", "By quarters"):
        assert words in read.text
    for target in found.report.targets:
        assert f"{target.waiting:,} predictions still wait for their label" in read.text
        assert f"{target.examples:,} examples" in read.text
    assert read.elements.count("svg") == read.elements.count("figure") >= 10 + 6 + 5 + 1
    for axis in ("time of the prediction (UTC)", "false positive rate", "mean label", "guessed"):
        assert axis in read.text


def test_names_from_data_are_harmless(strange: str) -> None:
    read = Page(strange)
    assert read.open == []
    assert not {"script", "img", "iframe", "link", "object", "base"} & set(read.elements)
    assert not any(name.startswith("on") for name, _ in read.attributes)
    assert "\x00" not in strange and "-->" not in strange
    # As they are, to be read by a person; in a plot cut short.
    assert "<script>alert(1)</script>" in read.text and "$\\frac{1}{0}$ & co" in read.text
    assert "<script>alert(1)<…" in read.text and "日本語" in read.text
    assert "<img src=x onerror=alert(1)>.jsonl" in read.text


def test_nothing_is_fetched(page: str) -> None:
    read = Page(page)
    assert "http" not in page and "@import" not in page
    assert not [name for name, _ in read.attributes if name in ("src", "srcset", "action")]
    links = {value for name, value in read.attributes if name.endswith("href")} | set(re.findall(r"url\((.*?)\)", page))
    assert links and all(link.startswith("#") for link in links)
    assert {link[1:] for link in links} <= set(read.ids)
    assert len(read.ids) == len(set(read.ids)), "an id that two plots have points into the wrong one"


def test_plots_are_in_the_colours_of_the_page_and_well_formed(page: str, strange: str) -> None:
    svgs = re.findall(r"<svg.*?</svg>", page + strange, re.DOTALL)
    assert len(svgs) > 40
    for svg in svgs:
        ElementTree.fromstring(f'<page xmlns:xlink="x">{svg}</page>')
        assert re.search(r"viewBox=\"[\d. ]+\"", svg) and " width=" not in svg.partition(">")[0]
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#ffffff"}


def test_the_same_events_make_the_same_page(tmp_path: Path, page: str) -> None:
    assert page_of(evaluated(tmp_path, streams.events(2_500))) == page


def test_a_target_without_examples(tmp_path: Path) -> None:
    few = evaluated(tmp_path, streams.events(12), slices=3)
    assert any(not target.examples for target in few.report.targets)
    assert "still wait for their label" in page_of(few)


def test_writing_a_page(found: Evaluated, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    check_page(path)
    write_page(path, found)
    assert path.read_text(encoding="utf-8") == page
    assert {each.name for each in tmp_path.iterdir()} == {"report.html"}
    with pytest.raises(SettingsError, match="is a folder"):
        check_page(tmp_path)
    with pytest.raises(SettingsError, match="there is no folder"):
        check_page(tmp_path / "none" / "report.html")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SettingsError, match=r"pip install 'stream-profiles\[report\]'"):
        check_page(path)
