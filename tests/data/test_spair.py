"""SPair-71k and SPair-U: trees in their official layouts."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.errors import ConfigError, DataError
from homolog.data.spair import SpairPairs, SpairUPairs


def padded(xy: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """Place pixels of a file in GeoAware-SC's padded square, written from protocols, not from our reader."""
    scale = side / max(size)
    offset = [int((side - np.around(side * part / max(size))) / 2) for part in size]
    return xy * scale + offset


def image(keypoints: dict[str, list[int]], *, size: tuple[int, int] = (64, 48)) -> dict[str, Any]:
    slots: dict[str, list[int] | None] = {str(number): None for number in range(30)}
    return {"image_width": size[0], "image_height": size[1], "category": "cat", "kps": {**slots, **keypoints}}


def pair(source: dict[str, Any], target: dict[str, Any], names: tuple[str, str]) -> dict[str, Any]:
    both = [key for key, xy in source["kps"].items() if xy and target["kps"][key]]
    return {
        "src_imname": f"{names[0]}.jpg",
        "trg_imname": f"{names[1]}.jpg",
        "src_imsize": [source["image_width"], source["image_height"], 3],
        "trg_imsize": [target["image_width"], target["image_height"], 3],
        "src_bndbox": [2, 3, 42, 33],
        "trg_bndbox": [4, 5, 14, 45],
        "category": "cat",
        "src_kps": [source["kps"][key] for key in both],
        "trg_kps": [target["kps"][key] for key in both],
        "kps_ids": both,
        "mirror": 0,
        "viewpoint_variation": 2,
        "scale_variation": 1,
        "truncation": 0,
        "occlusion": 3,
    }


IMAGES = {
    "a": image({"0": [10, 11], "2": [20, 21], "3": [30, 31], "9": [5, 6]}),
    "b": image({"2": [40, 41], "3": [12, 13], "9": [7, 8], "14": [1, 2]}, size=(32, 48)),
}
PAIRS = {
    "000001-a-b:cat": pair(IMAGES["a"], IMAGES["b"], ("a", "b")),
    "000000-b-a:cat": pair(IMAGES["b"], IMAGES["a"], ("b", "a")),
}


def write_tree(
    root: Path,
    images: dict[str, Any],
    pairs: dict[str, Any],
    *,
    folders: tuple[str, str] = ("ImageAnnotation", "PairAnnotation"),
    photos: Path | None = None,
) -> Path:
    for name, record in images.items():
        category = record["category"]
        annotation = root / folders[0] / category / f"{name}.json"
        photo = (photos or root) / "JPEGImages" / category / f"{name}.jpg"
        for path in (annotation, photo):
            path.parent.mkdir(parents=True, exist_ok=True)
        annotation.write_text(json.dumps(record))
        PIL.Image.new("RGB", (record["image_width"], record["image_height"])).save(photo)
    (root / folders[1] / "test").mkdir(parents=True, exist_ok=True)
    for name, record in pairs.items():
        (root / folders[1] / "test" / f"{name}.json").write_text(json.dumps(record))
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = write_tree(tmp_path / "SPair-71k", IMAGES, PAIRS)
    (root / "Layout" / "large").mkdir(parents=True)
    (root / "Layout" / "large" / "test.txt").write_text("000001-a-b:cat\n000000-b-a:cat\n")
    return root


def spair(root: Path, **choices: Any) -> Any:
    # Any, because samples have no points, boxes or fields in general, and these have.
    defaults: dict[str, Any] = {"split": "test", "keypoints": "image"}
    return SpairPairs(root, **{**defaults, **choices})


def test_golden_points_boxes_and_files_of_geoaware(golden: Callable[..., Any], tmp_path: Path) -> None:
    case = golden("geoaware_load_spair_data")
    inputs, outputs, tol = case["inputs"], case["outputs"], case["tol"]
    root = write_tree(tmp_path, inputs["image_annotations"], inputs["pair_annotations"])
    data = spair(root)
    assert len(data) == len(outputs["files"]) // 2 > 0
    expected = np.array(outputs["kps"]).reshape(len(data), 2, -1, 3)
    for index, sample in enumerate(data):
        names = [Path(side.name).name for side in (sample.image0, sample.image1)]
        assert names == outputs["files"][2 * index : 2 * index + 2]
        both = (expected[index, :, :, 2] > 0).all(axis=0)
        for side, xy, official in zip(
            (sample.image0, sample.image1), (sample.xy0, sample.xy1), expected[index], strict=True
        ):
            placed = padded(xy.numpy(), side.size[::-1], inputs["size"])
            np.testing.assert_allclose(placed, official[both, :2], rtol=tol, atol=tol)
        threshold = float(sample.box1[2:].max()) * inputs["size"] / max(sample.image1.size)
        assert threshold == pytest.approx(outputs["thresholds"][index], rel=tol)


def test_golden_points_of_pair_files_are_those_of_image_files(
    golden: Callable[..., Any], tmp_path: Path
) -> None:
    inputs = golden("geoaware_load_spair_data")["inputs"]
    root = write_tree(tmp_path, inputs["image_annotations"], inputs["pair_annotations"])
    for by_image, by_pair in zip(spair(root), spair(root, keypoints="pair"), strict=True):
        assert torch.equal(by_image.xy0, by_pair.xy0)
        assert torch.equal(by_image.xy1, by_pair.xy1)


def test_a_sample_has_what_its_files_say(tree: Path) -> None:
    sample = spair(tree)[0]
    assert sample.name == "000001-a-b:cat"
    assert sample.category == "cat"
    assert sample.image0.size == (48, 64)
    assert sample.image1.size == (48, 32)
    assert sample.xy0.tolist() == [[20, 21], [30, 31], [5, 6]]
    assert sample.xy1.tolist() == [[40, 41], [12, 13], [7, 8]]
    assert sample.box0.tolist() == [2, 3, 40, 30]
    assert sample.box1.tolist() == [4, 5, 10, 40]
    assert sample.facts["viewpoint_variation"] == "2"
    assert sample.facts["occlusion"] == "3"


@pytest.mark.parametrize("keypoints", ["image", "pair"])
def test_geometry_aware_points_have_a_lookalike_seen_in_the_target(tree: Path, keypoints: str) -> None:
    # Ears (2, 3) are both seen; of the paws (9 to 12) only one is.
    groups = spair(tree, keypoints=keypoints)[0].groups
    assert groups["geometry_aware"].tolist() == [True, True, False]


def test_a_lookalike_seen_only_in_the_source_does_not_count(tmp_path: Path) -> None:
    images = {"a": image({"2": [1, 1], "3": [2, 2]}), "b": image({"2": [3, 3]})}
    names = ("000000-a-b:cat", "000001-b-a:cat")
    pairs = {
        names[0]: pair(images["a"], images["b"], ("a", "b")),
        names[1]: pair(images["b"], images["a"], ("b", "a")),
    }
    there, back = spair(write_tree(tmp_path, images, pairs))
    assert there.groups["geometry_aware"].tolist() == [False]
    assert back.groups["geometry_aware"].tolist() == [True]


def test_pairs_come_in_the_order_of_the_official_list(tree: Path) -> None:
    assert spair(tree).names == ["000001-a-b:cat", "000000-b-a:cat"]
    (tree / "Layout" / "large" / "test.txt").unlink()
    assert spair(tree).names == ["000000-b-a:cat", "000001-a-b:cat"]


def test_a_pair_file_that_differs_is_believed_if_it_is_asked(tree: Path) -> None:
    path = tree / "PairAnnotation" / "test" / "000001-a-b:cat.json"
    record = copy.deepcopy(PAIRS["000001-a-b:cat"])
    record["src_kps"][0] = [21, 21]
    path.write_text(json.dumps(record))
    assert spair(tree, keypoints="pair")[0].xy0[0].tolist() == [21, 21]
    assert spair(tree, keypoints="image")[0].xy0[0].tolist() == [20, 21]


@pytest.mark.usefixtures("unchecked")
def test_other_choices_are_refused(tree: Path) -> None:
    with pytest.raises(ConfigError, match="split"):
        spair(tree, split="train")
    with pytest.raises(ConfigError, match="did you mean cat"):
        spair(tree, category="cats")


def test_a_missing_folder_says_how_to_obtain_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"SPair-71k.*Download SPair-71k.tar.gz"):
        spair(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"PairAnnotation.test: expected files of pairs"):
        spair(tmp_path)


def test_a_listed_pair_without_file_is_named(tree: Path) -> None:
    (tree / "PairAnnotation" / "test" / "000000-b-a:cat.json").unlink()
    with pytest.raises(DataError, match=r"000000-b-a:cat.json.*found 1 of 2 pairs"):
        spair(tree)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"kps_ids": ["2", "3"]}, "one length"),
        ({"kps_ids": ["2", "3", "left ear"]}, "numbers as kps_ids"),
        ({"src_kps": [[1, 2], [3, 4], [5, "x"]]}, "2 finite numbers as a keypoint"),
        ({"src_imname": "../../a.jpg"}, "below"),
        ({"trg_imname": "/etc/passwd"}, "below"),
        ({"src_imname": ["a.jpg"]}, "below"),
        ({"category": "dog"}, "category cat"),
        ({"src_bndbox": [1, 2, 3]}, "4 finite numbers as the box"),
        ({"trg_bndbox": [9, 2, 3, 4]}, "x1, y1, x2, y2"),
        ({"trg_imsize": [31, 48, 3]}, "31 x 48 pixels"),
        ({"src_imsize": "big"}, "3 finite numbers as image size"),
        ({"trg_imname": "c.jpg"}, r"c\.json: expected this file"),
    ],
)
def test_a_wrong_pair_file_is_named_with_what_is_wrong(
    tree: Path, change: dict[str, Any], match: str
) -> None:
    path = tree / "PairAnnotation" / "test" / "000001-a-b:cat.json"
    path.write_text(json.dumps({**PAIRS["000001-a-b:cat"], **change}))
    keypoints = "pair" if change.keys() & {"kps_ids", "src_kps"} else "image"
    with pytest.raises(DataError, match=match) as caught:
        spair(tree, keypoints=keypoints)[0]
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_named(tree: Path) -> None:
    path = tree / "ImageAnnotation" / "cat" / "b.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(DataError, match=r"b\.json: expected JSON"):
        spair(tree)[0]


def test_spair_u_reads_both_known_spellings(tree: Path, tmp_path: Path) -> None:
    extra = {"a": image({"0": [1, 2], "1": [3, 4]}), "b": image({"0": [5, 6], "1": [7, 8]}, size=(32, 48))}
    pairs = {"000000-a-b:cat": pair(extra["a"], extra["b"], ("a", "b"))}
    own = write_tree(tmp_path / "SPair-U", extra, pairs, photos=tmp_path / "elsewhere")
    inside = write_tree(
        tree,
        extra,
        pairs,
        folders=("ExtraImageAnnotation", "ExtraPairAnnotation"),
        photos=tmp_path / "elsewhere",
    )
    for root in (own, inside):
        data: Any = SpairUPairs(root, images=tree)
        assert len(data) == 1
        sample = data[0]
        assert sample.xy0.tolist() == [[1, 2], [3, 4]]
        assert sample.xy1.tolist() == [[5, 6], [7, 8]]
        assert sample.groups == {}
        assert Path(sample.image0.name).is_relative_to(tree)


def test_spair_u_does_not_take_the_annotations_of_spair_for_its_own(tree: Path) -> None:
    with pytest.raises(DataError, match="ExtraPairAnnotation"):
        SpairUPairs(tree, images=tree)


def segment(tree: Path, name: str, size: tuple[int, int], *, palette: bool = False) -> None:
    """A cat in the box, another beside it, and a dog over part of the first."""
    shown = np.zeros(size, dtype=np.uint8)
    shown[10:20, 5:9] = 8
    shown[10:20, 4] = 255
    shown[12:14, 5:7] = 12
    shown[0:3, 0:4] = 8
    picture = PIL.Image.fromarray(shown)
    if palette:
        picture.putpalette([7 * number % 256 for number in range(768)])
    path = tree / "Segmentation" / "cat" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)


@pytest.mark.parametrize("palette", [False, True])
def test_the_mask_is_the_object_in_its_box_and_no_other_thing(tree: Path, palette: bool) -> None:
    segment(tree, "a", (48, 64), palette=palette)
    segment(tree, "b", (48, 32), palette=palette)
    sample = spair(tree, masks=True)[0]
    for mask, size in ((sample.mask0, (48, 64)), (sample.mask1, (48, 32))):
        assert tuple(mask.shape) == size
        assert mask.dtype == torch.bool
        assert int(mask.sum()) == 10 * 4 - 2 * 2
        assert bool(mask[10, 5])
        assert not bool(mask[12, 5] | mask[10, 4] | mask[0, 0])
    assert spair(tree)[0].mask0 is None


def test_segmentations_that_are_missing_or_are_none_are_data_errors(tree: Path) -> None:
    with pytest.raises(DataError, match=r"Segmentation: expected the segmentations.*masks=false"):
        spair(tree, masks=True)
    segment(tree, "a", (48, 64))
    with pytest.raises(DataError, match=r"b\.png: expected a segmentation, found none"):
        spair(tree, masks=True)[0]
    segment(tree, "b", (48, 33))
    with pytest.raises(DataError, match="32 x 48 pixels, got 33 x 48 of the mode L"):
        spair(tree, masks=True)[0]
    path = tree / "Segmentation/cat/b.png"
    PIL.Image.new("RGB", (32, 48)).save(path)
    with pytest.raises(DataError, match="of the mode RGB"):
        spair(tree, masks=True)[0]
    PIL.Image.new("L", (32, 48), 200).save(path)
    with pytest.raises(DataError, match="got the class 200"):
        spair(tree, masks=True)[0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="damaged"):
        spair(tree, masks=True)[0]
