"""The page and the tables of a report, from results with known scores."""

import io
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from homolog.cli.report.report import make_page
from homolog.cli.report.tables import AVERAGE, average, leaderboard, make_markdown, task_scores

MARKUP = "<script>alert('x')</script> & \"a|b\""


def score(
    value: float | None, *, name: str = "PCK", unit: str = "share", category: str = ""
) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "count": 3, "category": category}


def head(matcher: str, task: str) -> dict[str, Any]:
    """What finished and failed results have in common."""
    about = {
        "format": 1,
        "limit": 2,
        "seed": 0,
        "command": "homolog sweep",
        "commit": "",
        "finished": "today",
    }
    return {
        "matcher": matcher,
        "task": task,
        "versions": {"torch": "2"},
        "hardware": {"cpu": "fast"},
        **about,
    }


def result(
    matcher: str, task: str, value: float | None, *, kind: str = "semantic", unit: str = "share"
) -> Any:
    curve = {"x": [0.0, 0.5, 1.0], "y": [0.1, None, 0.9], "x_label": "recall", "y_label": "precision"}
    scores = [score(value, unit=unit), score(2.5, name="EPE", unit="px"), score(value, category="cat")]
    protocols = {
        name: {
            "name": f"spair/{name}",
            "settings": {"right": f"error < {limit} px"},
            "scores": scores[:count],
            "curves": {"calibration": curve},
        }
        for name, limit, count in (("strict", 3, 3), ("loose", 9, 1))
    }
    return {
        **head(matcher, task),
        "status": "done",
        "kind": kind,
        "samples": 2,
        "of": 3,
        "headline": {"protocol": "spair/strict", **score(value, unit=unit)},
        "protocols": protocols,
        "seconds": {"per_sample": 0.1},
        "examples": [],
    }


def failed(matcher: str, task: str, reason: str) -> Any:
    return {**head(matcher, task), "status": "failed", "reason": reason, "kind": ""}


class Page(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data"}]

    def handle_data(self, data: str) -> None:
        self.texts.append(" ".join(data.split()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a result, with a picture of one sample."""
    encoded = io.BytesIO()
    PIL.Image.new("RGB", (20, 10)).save(encoded, "jpeg")
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "000000.jpg").write_bytes(encoded.getvalue())
    return tmp_path


def test_the_page_opens_without_network_and_names_every_protocol(folder: Path):
    example = {"file": "examples/000000.jpg", "sample": "one", "quality": 0.5, "rank": 0, "of": 9}
    results = [{**result("mini", "spair", 0.75), "examples": [example]}, failed("sift", "spair", "no data")]
    page = Page(make_page(results, [folder, folder]))
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert all(link.startswith(("#", "data:image/")) for link in page.links)
    pictures = [link for link in page.links if link.startswith("data:image/jpeg")]
    assert len(pictures) == 1
    for text in (
        "spair/strict",
        "spair/loose",
        "right: error < 9 px",
        "75.0",
        "2.5 px",
        "2 of 3 samples.",
        "sift on spair: no data",
        "rank 1 of 9, quality 0.5: one",
    ):
        assert text in page.texts
    assert any("only the first 2 samples" in text for text in page.texts)


def test_names_are_shown_literally(folder: Path):
    results = [result(MARKUP, MARKUP, 0.5), failed(f"other {MARKUP}", MARKUP, MARKUP)]
    results[0]["examples"] = [
        {"file": "examples/000000.jpg", "sample": MARKUP, "quality": 0.5, "rank": 0, "of": 1}
    ]
    for protocol in results[0]["protocols"].values():
        protocol["name"] = MARKUP
        protocol["settings"] = {"right": MARKUP}
    page = Page(make_page(results, [folder, folder]))
    assert "script" not in page.tags
    assert page.texts.count(MARKUP) >= 6
    assert f"right: {MARKUP}" in page.texts


def test_a_task_where_all_failed_has_a_section_that_says_so(tmp_path: Path):
    page = Page(make_page([failed("mini", "spair", "no data")], [tmp_path]))
    assert "No matcher has scores for this task; the reasons are above." in page.texts


def test_the_best_fractions_are_marked_and_other_units_are_not(tmp_path: Path):
    results = [
        *(result(matcher, "spair", value) for matcher, value in (("a", 0.5), ("b", 0.75), ("c", 0.7501))),
        *(result(matcher, "epe", value, unit="px") for matcher, value in (("a", 1200.0), ("b", 2.0))),
    ]
    table = leaderboard(results)
    assert table.rows[0] == ["a", "50.0", "1200", "-"]
    # What is shown as equal is marked alike.
    assert table.best == {(1, 1), (2, 1)}
    page = make_page(results, [tmp_path] * len(results))
    assert re.findall(r'<td class="best">([^<]*)', page) == ["75.0", "75.0"]


def at_thresholds(
    matcher: str, task: str, values: Mapping[str, float | None], *, kind: str = "semantic"
) -> Any:
    """A result whose first score is the headline."""
    scores = [score(value, name=name) for name, value in values.items()]
    made = result(matcher, task, 0.5, kind=kind)
    made["headline"] = {"protocol": "spair/strict", **scores[0]}
    # Scores of a category, and those of another protocol, do not count.
    made["protocols"]["strict"]["scores"] = [*scores, {**scores[0], "value": 0.0, "category": "cat"}]
    return made


def of_pck(*values: float | None, after: str = " per image, box") -> dict[str, float | None]:
    return {
        f"PCK@{alpha}{after}": value for alpha, value in zip(("0.1", "0.05", "0.15"), values, strict=True)
    }


def of_auc(*values: float | None) -> dict[str, float | None]:
    return {f"AUC@{degrees}deg": value for degrees, value in zip((5, 10, 20), values, strict=True)}


def test_the_average_is_over_three_thresholds_then_over_tasks_then_over_kinds():
    results = [
        at_thresholds("a", "spair", of_pck(0.2, 0.1, 0.3)),
        at_thresholds("a", "willow", of_pck(0.5, 0.3, 0.7)),
        at_thresholds("a", "aachen", of_auc(0.4, 0.6, 0.8), kind="geometric"),
        at_thresholds("b", "spair", of_pck(0.5, 0.5, 0.5)),
    ]
    # 0.2 and 0.5 of the semantic tasks, 0.6 of the geometric one.
    assert average("a", results) == pytest.approx((0.35 + 0.6) / 2)
    assert average("b", results) is None
    table = leaderboard(results)
    assert table.header[-1] == AVERAGE
    assert [row[-1] for row in table.rows] == ["47.5", "-"]
    assert AVERAGE not in leaderboard(results[:1]).header


def test_the_average_is_that_of_a_row_of_matchas_table_4():
    """Of MATCHA: PF-WILLOW 70.2, 91.3, 97.0; Aachen 51.7, 61.0, 68.5; TAP-Vid 87.8, 93.5, 95.5."""
    results = [
        at_thresholds("m", "willow", of_pck(0.913, 0.702, 0.97)),
        at_thresholds("m", "aachen", of_auc(0.517, 0.61, 0.685), kind="geometric"),
        at_thresholds("m", "tapvid", of_pck(0.935, 0.878, 0.955, after=" per point"), kind="temporal"),
    ]
    assert average("m", results) == pytest.approx((0.8617 + 0.6040 + 0.9227) / 3, abs=1e-4)


def test_thresholds_beside_the_three_of_table_4_do_not_count():
    more = {**of_pck(0.2, 0.1, 0.3), "PCK@0.01 per image, box": 0.9, "PCK@0.1 per point, box": 0.9}
    assert average("a", [at_thresholds("a", "spair", more)]) == pytest.approx(0.2)
    fewer = {"PCK@0.1, box": 0.3, "PCK@0.05, box": 0.2, "PCK@0.01, box": 0.1}
    assert average("a", [at_thresholds("a", "spair", fewer)]) == pytest.approx(0.2)


@pytest.mark.parametrize(
    "values",
    [
        {"AJ": 0.5, "delta@1px": 0.5, "delta@2px": 0.5, "delta@4px": 0.5},
        {"PCK@0.1": 0.5, "PCK@0.05": 0.5},
        {f"MMA@{pixels}px": 0.5 for pixels in (3, 1, 2, 4)},
        of_pck(0.5, None, 0.5),
    ],
    ids=["no threshold", "two", "four", "one is missing"],
)
def test_a_headline_without_three_thresholds_has_no_average(values: Mapping[str, float | None]):
    assert average("a", [at_thresholds("a", "task", values)]) is None


def test_a_protocol_has_a_row_for_each_score_and_a_column_for_each_matcher():
    results = [result("a", "spair", 0.2), result("b", "spair", None)]
    results[1]["protocols"]["strict"]["scores"] = [score(None)]
    tables = task_scores("spair", results)
    assert list(tables) == ["spair/strict", "spair/loose"]
    assert tables["spair/strict"].header == ["score", "a", "b"]
    assert tables["spair/strict"].rows == [["PCK", "20.0", "-"], ["EPE", "2.5 px", ""]]


def test_markdown_has_the_same_tables_with_bars_escaped():
    text = make_markdown([result("a|b", "spair", 0.25), failed("c", "spair", "no data")])
    assert "| a\\|b | 25.0 |" in text
    assert "| c | failed |" in text
    assert "- c on spair: no data" in text
    assert "### spair/loose" in text
