"""Named keypoints: our own layout."""

import copy
import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from homolog.core.errors import DataError
from homolog.data.pairs_json import NamedKeypointPairs

CONTENT: dict[str, Any] = {
    "images": {
        "a": {
            "file": "images/a.png",
            "size": [32, 24],
            "bbox": [1, 2, 20, 10],
            "keypoints": {"nose": [3.5, 4], "tail": [9, 8], "ear": [1, 1]},
        },
        "b": {
            "file": "images/b.png",
            "size": [16, 40],
            "bbox": [0.5, 1, 8, 30],
            "keypoints": {"tail": [2, 30], "nose": [5, 6]},
            "origin": "elsewhere",
        },
    },
    "pairs": [
        {"category": "cat", "src": "a", "trg": "b"},
        {"category": "cat", "src": "b", "trg": "a", "names": ["tail"]},
    ],
}


def write(root: Path, content: Any) -> Path:
    (root / "images").mkdir(exist_ok=True)
    PIL.Image.new("RGB", (32, 24)).save(root / "images" / "a.png")
    PIL.Image.new("RGB", (16, 40)).save(root / "images" / "b.png")
    (root / "pairs.json").write_text(json.dumps(content))
    return root


def test_samples_have_the_named_points_of_both_images(tmp_path: Path) -> None:
    data: Any = NamedKeypointPairs(write(tmp_path, CONTENT))
    there, back = data
    assert there.xy0.tolist() == [[3.5, 4], [9, 8]]
    assert there.xy1.tolist() == [[5, 6], [2, 30]]
    assert there.box0.tolist() == [1, 2, 20, 10]
    assert there.box1.tolist() == [0.5, 1, 8, 30]
    assert (there.category, there.name) == ("cat", "000-a-b")
    assert back.xy0.tolist() == [[2, 30]]
    assert back.xy1.tolist() == [[9, 8]]


def changed(path: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    *parents, last = path.split("/")
    node: Any = content
    for key in parents:
        node = node[int(key)] if isinstance(node, list) else node[key]
    node[last] = value
    return content


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ([], "a JSON object"),
        ({"images": {}}, "'pairs'"),
        ({"images": {}, "pairs": []}, "list of pairs"),
        (changed("images/a", None), "an image 'a'"),
        (changed("pairs/0/src", "c"), "an image 'c'"),
        (changed("pairs/1/names", ["ear"]), "'ear' in both images"),
        (changed("images/a/file", "../a.png"), "below"),
        (changed("images/a/bbox", [1, 2, 3]), "4 finite numbers as bbox of a"),
        (changed("images/a/keypoints", []), "keypoints of a by name"),
        (changed("images/b/keypoints/nose", [1, None]), "2 finite numbers as point nose of b"),
        (changed("images/b/keypoints/nose", [1, float("nan")]), "2 finite numbers as point nose of b"),
    ],
)
def test_wrong_annotations_are_named_before_anything_is_matched(
    tmp_path: Path, content: Any, match: str
) -> None:
    with pytest.raises(DataError, match=match) as caught:
        NamedKeypointPairs(write(tmp_path, content))
    assert "pairs.json" in str(caught.value)


def test_images_of_another_size_and_missing_ones_are_refused(tmp_path: Path) -> None:
    data = NamedKeypointPairs(write(tmp_path, CONTENT))
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "images" / "b.png")
    with pytest.raises(DataError, match="expected 16 x 40 pixels"):
        data[0]
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: expected the image"):
        data[0]


def test_a_missing_or_cut_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pairs\.json: expected this file"):
        NamedKeypointPairs(tmp_path)
    (tmp_path / "pairs.json").write_text(json.dumps(CONTENT)[:-3])
    with pytest.raises(DataError, match=r"pairs\.json: expected JSON"):
        NamedKeypointPairs(tmp_path)
