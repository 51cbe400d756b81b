"""PF-PASCAL and PF-WILLOW: trees in their official layouts."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import scipy.io

from homolog.core.errors import ConfigError, DataError, MissingDependencyError
from homolog.data.proposal_flow import PfPascalPairs, WillowPairs
from homolog.data.spair import CLASSES

CAT = 8
"""PASCAL VOC's number of cats, from 1."""


def pf_pascal(root: Path, **choices: Any) -> Any:
    # Any, because samples have no points, boxes or fields in general, and these have.
    defaults: dict[str, Any] = {"lists": "hpf", "split": "test"}
    return PfPascalPairs(root, **{**defaults, **choices})


def pf_willow(root: Path, **choices: Any) -> Any:
    return WillowPairs(root, **choices)


def write_photo(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", size).save(path)


def write_annotated(
    root: Path, name: str, kps: np.ndarray, box: list[Any], size: tuple[int, int], category: str = "cat"
) -> None:
    write_photo(root / "JPEGImages" / f"{name}.jpg", size)
    folder = root / "Annotations" / category
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.savemat(folder / f"{name}.mat", {"kps": kps, "bbox": np.array(box)})


@pytest.fixture
def pascal(tmp_path: Path) -> Path:
    """Two cats in HPF's layout; the third keypoint is missing in b."""
    root = tmp_path / "PF-PASCAL"
    write_annotated(root, "a", np.array([[1.5, 2.25], [3.0, 4.0], [5.0, 6.0]]), [[1, 2, 21, 12]], (40, 30))
    write_annotated(
        root, "b", np.array([[7.0, 8.0], [9.0, 10.0], [np.nan, np.nan]]), [[2, 3, 12, 23]], (20, 50)
    )
    header = "source_image,target_image,class"
    row = f"PF-PASCAL/JPEGImages/a.jpg,PF-PASCAL/JPEGImages/b.jpg,{CAT}"
    (root / "test_pairs.csv").write_text(f"{header}\n{row}\n")
    (root / "trn_pairs.csv").write_text(f"{header},flip\n{row},0\n{row},1\n")
    points = "1.5;3,2.25;4,7;9,8;10"
    (root / "test_pairs_pf_pascal.csv").write_text(f"{header},XA,YA,XB,YB\n{row},{points}\n")
    return root


@pytest.fixture
def willow(tmp_path: Path) -> Path:
    """One pair of PF-WILLOW; the points of image B lie between (2, 5) and (20, 14)."""
    root = tmp_path / "PF-WILLOW"
    for name in ("car(G)_0001", "car(G)_0002"):
        write_photo(root / "car(G)" / f"{name}.png", (40, 30))
    columns = [f"{axis}{image}{number}" for image in "AB" for axis in "XY" for number in range(1, 11)]
    values = [*range(10), *range(10, 20), *range(2, 20, 2), 20.5, *range(5, 15)]
    lines = [
        ",".join(("imageA", "imageB", *columns)),
        ",".join(("PF-WILLOW/car(G)/car(G)_0001.png", "PF-WILLOW/car(G)/car(G)_0002.png", *map(str, values))),
    ]
    (root / "test_pairs.csv").write_text("\n".join(lines) + "\n")
    return root


def test_golden_points_boxes_and_sides_of_hpf_pascal(golden: Callable[..., Any], tmp_path: Path) -> None:
    case = golden("hpf_pfpascal_loader")
    inputs, outputs, tol = case["inputs"], case["outputs"], case["tol"]
    rows = ["source_image,target_image,class"]
    for (source, target), category in zip(inputs["pairs"], outputs["class"], strict=True):
        for name in (source, target):
            points = inputs["kps_nan_is_missing"][name]
            kps = np.array([[float(value) for value in point] for point in points])
            height, width = inputs["image_hw"][name]
            write_annotated(tmp_path, name, kps, inputs["bbox"][name], (width, height), category)
        number = CLASSES.index(category) + 1
        rows.append(f"PF-PASCAL/JPEGImages/{source}.jpg,PF-PASCAL/JPEGImages/{target}.jpg,{number}")
    (tmp_path / "test_pairs.csv").write_text("\n".join(rows))

    data = pf_pascal(tmp_path, lists="hpf", split="test")

    assert len(data) == len(inputs["pairs"]) > 0
    for index, sample in enumerate(data):
        np.testing.assert_allclose(sample.xy0.numpy().T, outputs["src_kps_2xn"][index], rtol=tol, atol=tol)
        np.testing.assert_allclose(sample.xy1.numpy().T, outputs["trg_kps_2xn"][index], rtol=tol, atol=tol)
        assert max(sample.image1.size) == outputs["pckthres_img"][index]
        assert float(sample.box1[2:].max()) == pytest.approx(outputs["pckthres_bbox"][index], rel=tol)
        assert sample.category == outputs["class"][index]


def test_golden_points_and_sides_of_hpf_willow(golden: Callable[..., Any], tmp_path: Path) -> None:
    case = golden("hpf_pfwillow_loader")
    inputs, outputs, tol = case["inputs"], case["outputs"], case["tol"]
    columns = [f"{axis}{image}{number}" for image in "AB" for axis in "XY" for number in range(1, 11)]
    rows = [",".join(("imageA", "imageB", *columns))]
    for number, values in enumerate(inputs["csv_rows_XA10_YA10_XB10_YB10"]):
        names = [f"duck(S)/{side}{number}.png" for side in "ab"]
        for name in names:
            write_photo(tmp_path / name, tuple(inputs["image_wh"]))
        rows.append(",".join((*(f"PF-WILLOW/{name}" for name in names), *map(str, values))))
    (tmp_path / "test_pairs.csv").write_text("\n".join(rows))

    data = pf_willow(tmp_path)

    assert len(data) == len(outputs["trg_kps_2xn"]) > 0
    for index, sample in enumerate(data):
        np.testing.assert_allclose(sample.xy1.numpy().T, outputs["trg_kps_2xn"][index], rtol=tol, atol=tol)
        source = np.array(inputs["csv_rows_XA10_YA10_XB10_YB10"][index][:20]).reshape(2, 10)
        np.testing.assert_allclose(sample.xy0.numpy().T, source, rtol=tol, atol=tol)
        assert float(sample.box1[2:].max()) == pytest.approx(outputs["pckthres_bbox"][index], rel=tol)
        assert max(sample.image1.size) == outputs["pckthres_img"][index]
        assert sample.category == "duck(S)"


def test_pascal_keeps_points_of_both_images(pascal: Path) -> None:
    sample = pf_pascal(pascal, lists="hpf", split="test")[0]
    assert sample.xy0.tolist() == [[1.5, 2.25], [3, 4]]
    assert sample.xy1.tolist() == [[7, 8], [9, 10]]
    assert sample.box0.tolist() == [1, 2, 20, 10]
    assert sample.box1.tolist() == [2, 3, 10, 20]
    assert sample.image1.size == (50, 20)


def test_both_layouts_of_pascal_have_the_same_points(pascal: Path) -> None:
    hpf = pf_pascal(pascal, lists="hpf", split="test")[0]
    listed = pf_pascal(pascal, lists="cnngeometric", split="test")[0]
    assert hpf.xy0.tolist() == listed.xy0.tolist()
    assert hpf.xy1.tolist() == listed.xy1.tolist()
    assert listed.box1 is None


def test_coordinates_are_cut_down_if_it_is_asked(pascal: Path, willow: Path) -> None:
    assert pf_pascal(pascal, lists="hpf", split="test", floor=True)[0].xy0.tolist() == [[1, 2], [3, 4]]
    assert pf_willow(willow, floor=True)[0].xy1[9].tolist() == [20, 14]
    assert pf_willow(willow)[0].xy1[9].tolist() == [20.5, 14]


def test_mirrored_training_pairs_show_the_same_places_of_their_files(pascal: Path) -> None:
    colours = np.arange(40 * 30 * 3, dtype=np.uint8).reshape(30, 40, 3)
    photo = pascal / "JPEGImages" / "a.jpg"
    PIL.Image.fromarray(colours).save(photo, quality=100, subsampling=0)
    plain, mirrored = pf_pascal(pascal, lists="hpf", split="trn")
    assert (plain.facts, mirrored.facts) == ({}, {"mirrored": "1"})
    assert plain.xy0.tolist() == mirrored.xy0.tolist()
    x, y = (int(value) for value in plain.xy0[1])
    there = mirrored.image0.xy_from_original(mirrored.xy0[1]).tolist()
    assert there == [39 - x, y]
    assert mirrored.image0.pixels[:, y, 39 - x].tolist() == plain.image0.pixels[:, y, x].tolist()
    assert mirrored.image0.pixels[0].tolist() != plain.image0.pixels[0].tolist()


def test_willow_takes_the_extent_of_the_points_as_box(willow: Path) -> None:
    sample = pf_willow(willow)[0]
    assert sample.xy0[3].tolist() == [3, 13]
    assert sample.box1.tolist() == [2, 5, 18.5, 9]
    assert sample.category == "car(G)"
    assert sample.name == "000-car(G)_0001-car(G)_0002"


@pytest.mark.usefixtures("unchecked")
def test_lists_that_do_not_exist_are_refused(pascal: Path) -> None:
    for lists, split in (("hpf", "train"), ("cnngeometric", "trn"), ("dhpf", "test")):
        with pytest.raises(ConfigError, match="expected lists"):
            pf_pascal(pascal, lists=lists, split=split)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ("source_image,target_image\na.jpg,b.jpg", "the column class"),
        ("source_image,target_image,class", "expected pairs"),
        ("source_image,target_image,class\na.jpg,b.jpg", "expected 3 values"),
        ("source_image,target_image,class\na.jpg,b.jpg,8,9", "expected 3 values"),
        ("source_image,target_image,class\na.jpg,b.jpg,21", "class from 1 to 20"),
        ("source_image,target_image,class\na.jpg,b.jpg,0", "class from 1 to 20"),
        ("source_image,target_image,class\na.jpg,b.jpg,cat", "class from 1 to 20"),
        ("source_image,target_image,class\n../../a.jpg,b.jpg,8", "below"),
    ],
)
def test_a_wrong_list_of_pascal_is_named_with_what_is_wrong(pascal: Path, rows: str, match: str) -> None:
    (pascal / "test_pairs.csv").write_text(rows)
    with pytest.raises(DataError, match=match) as caught:
        pf_pascal(pascal, lists="hpf", split="test")
    assert "test_pairs.csv" in str(caught.value)


def test_points_of_another_length_are_refused(pascal: Path) -> None:
    (pascal / "test_pairs_pf_pascal.csv").write_text(
        "source_image,target_image,class,XA,YA,XB,YB\na.jpg,b.jpg,8,1;2,3;4,5;6,7\n"
    )
    with pytest.raises(DataError, match="one length"):
        pf_pascal(pascal, lists="cnngeometric", split="test")


def test_damaged_matlab_files_are_named(pascal: Path) -> None:
    data = pf_pascal(pascal, lists="hpf", split="test")
    path = pascal / "Annotations" / "cat" / "a.mat"
    content = path.read_bytes()
    for damaged in (b"", b"no matlab", content[:200], content[: len(content) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.mat: expected a Matlab file"):
            data[0]
    scipy.io.savemat(path, {"kps": np.zeros((3, 3)), "bbox": np.array([[1, 2, 3, 4]])})
    with pytest.raises(DataError, match=r"kps \[N 2\]"):
        data[0]
    scipy.io.savemat(path, {"kps": np.zeros((3, 2))})
    with pytest.raises(DataError, match="kps, bbox"):
        data[0]
    scipy.io.savemat(path, {"kps": np.zeros((2, 2)), "bbox": np.array([[1, 2, 3, 4]])})
    with pytest.raises(DataError, match="as many keypoints"):
        data[0]
    path.unlink()
    with pytest.raises(DataError, match=r"a\.mat: expected the keypoints"):
        data[0]


def test_without_scipy_the_extra_is_named(pascal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingDependencyError, match=r"homolog-data\[matlab\]"):
        pf_pascal(pascal, lists="hpf", split="test")[0]


@pytest.mark.parametrize(
    "change", [("YB10", "YB11"), ("PF-WILLOW/car(G)", "../car(G)"), ("20.5", "x"), ("20.5", "")]
)
def test_a_wrong_list_of_willow_is_refused(willow: Path, change: tuple[str, str]) -> None:
    path = willow / "test_pairs.csv"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(DataError, match=r"test_pairs\.csv"):
        pf_willow(willow)


def test_missing_images_say_how_to_obtain_them(pascal: Path, willow: Path) -> None:
    (pascal / "JPEGImages" / "b.jpg").unlink()
    with pytest.raises(DataError, match=r"b\.jpg: expected the image.*PF-dataset-PASCAL\.zip"):
        pf_pascal(pascal, lists="hpf", split="test")[0]
    (willow / "car(G)" / "car(G)_0002.png").unlink()
    with pytest.raises(DataError, match=r"0002\.png: expected the image.*PF-dataset\.zip"):
        pf_willow(willow)[0]
