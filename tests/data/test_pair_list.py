"""Our own lists of pairs, as text and as JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from homolog.core.errors import DataError
from homolog.data.pair_list import PairList

K = [[60.0, 0, 10], [0, 60, 8], [0, 0, 1]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "some photos").mkdir()
    PIL.Image.new("RGB", (20, 16)).save(tmp_path / "a.jpg")
    PIL.Image.new("RGB", (30, 18)).save(tmp_path / "some photos/b.png")
    return tmp_path


def read(root: Path, **truth: Any) -> Any:
    # Any, because samples have no points, cameras or maps in general, and these have.
    pair = {"image0": "a.jpg", "image1": "some photos/b.png", **truth}
    (root / "pairs.json").write_text(json.dumps({"pairs": [pair]}))
    return PairList(root=root, pairs="pairs.json")


def test_text_lists_need_two_paths_only(root: Path) -> None:
    (root / "pairs.txt").write_text('# ours\n\na.jpg "some photos/b.png" 0 0\n"some photos/b.png"\ta.jpg\n')
    data = PairList(root=root, pairs="pairs.txt")
    assert len(data) == 2
    assert (data[1].image0.size, data[1].image1.size) == ((18, 30), (16, 20))
    assert data[0].name == "00000/a-b"
    assert data[-1].name == "00001/b-a"
    assert (data[0].xy0, data[0].pose, data[0].homography) == (None, None, None)


def test_json_lists_say_as_much_as_they_know(root: Path) -> None:
    R = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    H = [[1, 0, 2.5], [0, 1, 0], [0, 0, 1]]
    sample = read(
        root,
        name="one",
        category="cat",
        xy0=[[1, 2], [3, 4.5]],
        xy1=[[5, 6], [7, 8]],
        visible=[True, False],
        box0=[0, 0, 5, 6],
        K0=K,
        K1=K,
        R=R,
        t=[0, 0, 1],
        homography=H,
    )[0]
    assert (sample.name, sample.category) == ("one", "cat")
    assert sample.xy0.tolist() == [[1, 2], [3, 4.5]]
    assert sample.visible.tolist() == [True, False]
    assert sample.box0.tolist() == [0, 0, 5, 6]
    assert sample.box1 is None
    np.testing.assert_array_equal(sample.camera1.K.numpy(), K)  # our convention: nothing to convert
    np.testing.assert_array_equal(sample.pose.R.numpy(), R)
    np.testing.assert_array_equal(sample.homography.numpy(), H)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ({"boxes0": [1, 2, 3, 4]}, "no entry boxes0; did you mean box0"),
        ({"xy0": [[1, 2]]}, "as many points in xy1"),
        ({"xy0": [[1, 2]], "xy1": [[1, 2], [3, 4]]}, "as many points in xy1"),
        ({"xy0": [[1, 2, 3]], "xy1": [[1, 2]]}, "xy0: expected N x 2 finite numbers"),
        ({"xy0": [["a", 2]], "xy1": [[1, 2]]}, "xy0: expected N x 2 numbers"),
        ({"xy0": [[1, 2]], "xy1": [[1, 2]], "visible": [1]}, "true or false"),
        ({"visible": [True]}, "true or false"),
        ({"box0": [1, 2, 3]}, "box0: expected 4 finite numbers"),
        ({"K0": [[0] * 3] * 3}, "positive focal lengths"),
        ({"R": K}, "both R and t"),
        ({"R": K, "t": [0, 0, 1]}, "no rotation"),
        ({"homography": [1] * 9}, "homography: expected 3 x 3"),
        ({"image1": 3}, "expected the name of a file"),
        ({"image1": "../a.jpg"}, "expected the name of a file"),
        ({"image1": "c.jpg"}, r"c\.jpg"),
    ],
)
def test_wrong_truth_is_a_data_error(root: Path, truth: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read(root, **truth)[0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pairs.txt", "# none\n", "expected pairs, got none"),
        ("pairs.txt", "a.jpg\n", "expected two paths"),
        ("pairs.txt", '"a.jpg b.jpg\n', "close the quote"),
        ("pairs.json", "[]", "expected a JSON object"),
        ("pairs.json", '{"pairs": []}', "expected pairs, got none"),
        ("pairs.json", '{"pairs": [1]}', "list of objects"),
        ("pairs.json", '{"pair": []}', "expected an entry 'pairs'"),
        ("pairs.json", '{"pairs": [{"image0"', "damaged"),
    ],
)
def test_wrong_lists_are_data_errors(root: Path, name: str, content: str, message: str) -> None:
    (root / name).write_text(content)
    with pytest.raises(DataError, match=message):
        PairList(root=root, pairs=name)


def test_a_missing_list_says_how_to_write_one(root: Path) -> None:
    with pytest.raises(DataError, match="write two paths a line"):
        PairList(root=root, pairs="pairs.txt")


def test_a_pair_without_an_image_is_a_data_error(root: Path) -> None:
    (root / "pairs.json").write_text('{"pairs": [{"image0": "a.jpg"}]}')
    with pytest.raises(DataError, match="expected an entry 'image1'"):
        PairList(root=root, pairs="pairs.json")[0]
