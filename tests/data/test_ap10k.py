"""AP-10K: GeoAware-SC's pairs, made and read."""

import json
import random
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from homolog.core.errors import ConfigError, DataError
from homolog.data.ap10k import Ap10kPairs
from homolog.data.ap10k_pairs import (
    Animal,
    cross_family,
    cross_species,
    intra_species,
    main,
    prepare,
    split_species,
)


def record(digits: str, image: str, **more: Any) -> dict[str, Any]:
    keypoints = [value for place, digit in enumerate(digits) for value in (place + 1, place + 2, int(digit))]
    return {
        "id": int(image),
        "keypoints": keypoints,
        "num_keypoints": sum(digit != "0" for digit in digits),
        "bbox": [1, 2, 20, 10],
        "width": 32,
        "height": 24,
        "file_name": f"{image}.jpg",
        **more,
    }


def write_annotation(root: Path, path: str, data: dict[str, Any], *, photo: bool = True) -> None:
    file = root / "ImageAnnotation" / f"{path}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data))
    if photo:
        picture = root / "JPEGImages" / f"{path}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (data["width"], data["height"])).save(picture)


def ap10k(root: Path, **choices: Any) -> Any:
    # Any, because samples have no points, boxes or fields in general, and these have.
    defaults: dict[str, Any] = {"subset": "intra", "split": "test", "pairs": "sorted", "hidden": "keep"}
    return Ap10kPairs(root, **{**defaults, **choices})


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two species of one family and one of another, three images each; all with many points."""
    root = tmp_path / "ap-10k"
    number = 0
    for species in ("Felidae/cat", "Felidae/king cheetah", "Ursidae/panda"):
        for digits in ("22222222222222222", "21022222222222222", "22222000000000000"):
            number += 1
            write_annotation(root, f"{species}/{number:012d}", record(digits, f"{number:012d}"))
    prepare(root, crowd=None)
    return root


def test_golden_splits_and_pairs_of_the_notebook(golden: Callable[..., Any], tmp_path: Path) -> None:
    case = golden("ap10k_split_and_pairs")
    inputs, outputs = case["inputs"], case["outputs"]
    for family, kinds in inputs["visibility_digits_17_per_image"].items():
        for species, images in kinds.items():
            for image, digits in images.items():
                data = record(digits, image)
                write_annotation(tmp_path, f"{family}/{species}/{image}", data, photo=False)
    crowd = tmp_path / "ap-10k_is_crowd.txt"
    crowd.write_text("\n".join(inputs["is_crowd"]) + "\n")

    manifest = prepare(tmp_path, crowd=crowd)

    assert manifest == json.loads((tmp_path / "pair_lists" / "manifest.json").read_text())
    assert manifest["seed"] == inputs["seed"]
    by_species = {name.split("/")[1]: counts for name, counts in manifest["species"].items()}
    assert by_species == outputs["counts"]
    assert len(manifest["pairs"]) == 7
    for name, facts in manifest["pairs"].items():
        official = outputs["pairs"].get(name, {"count": 0})
        assert facts["count"] == official["count"], name
        lines = (tmp_path / "pair_lists" / f"{name}.tsv").read_text().splitlines()
        assert len(lines) == facts["count"]
        if lines:
            assert facts["sha256"] == official["sha256_of_sorted_names_joined_by_newline"]
            parts = [line.split("\t") for line in lines]
            names = [f"{a[-12:]}-{b[-12:]}:{category}.json" for a, b, category in parts]
            assert names[: len(official["first"])] == official["first"]
    assert set(outputs["pairs"]) <= set(manifest["pairs"])


def test_golden_points_of_geoaware_with_hidden_ones_halved(
    golden: Callable[..., Any], tmp_path: Path
) -> None:
    case = golden("geoaware_load_ap10k_data")
    inputs, outputs, tol = case["inputs"], case["outputs"], case["tol"]
    side = inputs["size"]
    for image, data in inputs["annotations"].items():
        write_annotation(tmp_path, f"Canidae/fox/{image}", data)
    folder = tmp_path / "PairAnnotation" / "test"
    folder.mkdir(parents=True)
    for name, files in inputs["pairs"].items():
        paths = [f"data/ap-10k/ImageAnnotation/Canidae/fox/{file}" for file in files]
        (folder / name).write_text(
            json.dumps(dict(zip(("src_json_path", "trg_json_path"), paths, strict=True)))
        )

    data = ap10k(tmp_path, pairs="official", hidden="halve")

    assert len(data) == len(inputs["pairs"]) > 0
    expected = np.array(outputs["kps"]).reshape(len(data), 2, -1, 3)
    for index, sample in enumerate(data):
        both = (expected[index, :, :, 2] > 0).all(axis=0)
        for image, xy, official in zip(
            (sample.image0, sample.image1), (sample.xy0, sample.xy1), expected[index], strict=True
        ):
            size = np.array(image.size[::-1])
            scale = side / size.max()
            offset = ((side - np.around(side * size / size.max())) / 2).astype(int)
            np.testing.assert_allclose(xy.numpy() * scale + offset, official[both, :2], rtol=tol, atol=tol)
        threshold = float(sample.box1[2:].max()) * side / max(sample.image1.size)
        assert threshold == pytest.approx(outputs["thresholds"][index], rel=tol)
        assert sample.category == sorted(inputs["pairs"])[index].partition(":")[2].removesuffix(".json")


def test_golden_hidden_points_keep_their_places_otherwise(golden: Callable[..., Any], tmp_path: Path) -> None:
    inputs = golden("geoaware_load_ap10k_data")["inputs"]
    for image, data in inputs["annotations"].items():
        write_annotation(tmp_path, f"Canidae/fox/{image}", data)
    (tmp_path / "pair_lists").mkdir()
    names = sorted(inputs["annotations"])
    lines = [f"Canidae/fox/{a}\tCanidae/fox/{b}\tfox\n" for a, b in combinations(names, 2)]
    (tmp_path / "pair_lists" / "test.tsv").write_text("".join(lines))
    kept, dropped = ap10k(tmp_path, hidden="keep"), ap10k(tmp_path, hidden="drop")
    for index, pair in enumerate(combinations(names, 2)):
        points = np.array([inputs["annotations"][name]["keypoints"] for name in pair]).reshape(2, 17, 3)
        for data, least in ((kept, 1), (dropped, 2)):
            both = (points[:, :, 2] >= least).all(axis=0)
            assert data[index].xy0.tolist() == points[0, both, :2].tolist()
            assert data[index].xy1.tolist() == points[1, both, :2].tolist()


def test_pairs_are_those_of_the_notebook_written_out() -> None:
    # The recipe in its plainest form: lists of tuples, and every product looked at.
    generator = np.random.default_rng(5)
    species = {
        f"{family}/{kind}": [
            Animal(path=f"{family}/{kind}/{image:012d}", visibility=generator.integers(0, 3, 17))
            for image in range(start, start + count)
        ]
        for family, kind, start, count in (("A", "a", 0, 55), ("A", "b", 100, 33), ("B", "c", 200, 52))
    }
    splits = split_species(species)
    assert [len(splits["train"][name]) for name in species] == [5, 0, 2]
    assert [len(splits["val"][name]) for name in species] == [20, 3, 20]
    assert [animal.path for animal in splits["test"]["A/a"]] == [
        animal.path for animal in species["A/a"][-30:]
    ]

    def match(first: Animal, second: Animal) -> bool:
        return float((first.visibility / 2 * second.visibility / 2).sum()) >= 3

    draw = random.Random(42)
    for split, name in (("train", "trn"), ("test", "test"), ("val", "val")):
        expected = []
        for kind, animals in splits[split].items():
            shuffled = list(animals)
            draw.shuffle(shuffled)
            possible = [pair for pair in combinations(shuffled, 2) if match(*pair)]
            most = 50 * len(shuffled) if split == "train" else len(possible)
            chosen = draw.sample(possible, min(most, len(possible))) if possible else []
            expected += [(first.path, second.path, kind[2:]) for first, second in chosen]
        assert [tuple(pair) for pair in intra_species(splits)[name]] == expected

    draw = random.Random(42)
    for split, most in (("val", 400), ("test", 900)):
        every = list(product(splits[split]["A/a"], splits[split]["A/b"]))
        for _ in every:
            draw.random()
        possible = [pair for pair in every if match(*pair)]
        expected = [(a.path, b.path, "A") for a, b in draw.sample(possible, min(most, len(possible)))]
        assert [tuple(pair) for pair in cross_species(splits)[f"{split}_cross_species"]] == expected

    draw = random.Random(42)
    for split, most in (("test", 30), ("val", 20)):
        one = [*splits[split]["A/a"], *splits[split]["A/b"]]
        possible = [pair for pair in product(one, splits[split]["B/c"]) if match(*pair)]
        expected = [(a.path, b.path, "all") for a, b in draw.sample(possible, min(most, len(possible)))]
        assert [tuple(pair) for pair in cross_family(splits)[f"{split}_cross_family"]] == expected


def test_all_three_subsets_are_read_from_the_lists(small: Path) -> None:
    intra, species, family = (
        ap10k(small, subset=name) for name in ("intra", "cross_species", "cross_family")
    )
    assert (len(intra), len(species), len(family)) == (9, 9, 18)
    assert {pair.category for pair in intra._pairs} == {"cat", "king cheetah", "panda"}
    assert {pair.category for pair in species._pairs} == {"Felidae"}
    assert {pair.category for pair in family._pairs} == {"all"}
    sample = intra[0]
    assert sample.name.endswith(":cat")
    assert [sample.facts[side].rpartition("/")[0] for side in ("source", "target")] == ["Felidae/cat"] * 2
    assert sample.box1.tolist() == [1, 2, 20, 10]


def test_geometry_aware_points_are_shoulders_elbows_paws_and_hips(small: Path) -> None:
    sample = next(
        s
        for s in ap10k(small)
        if s.name in {"000000000001-000000000002:cat", "000000000002-000000000001:cat"}
    )
    # The point 2 (nose) is not labelled in image 2; the first five are eyes, nose, neck and tail.
    assert sample.groups["geometry_aware"].tolist() == [False] * 4 + [True] * 12


def test_annotations_of_split_1_are_merged_first_animal_first(tmp_path: Path) -> None:
    kinds = [{"id": 1, "name": "cat", "supercategory": "Felidae"}]
    images = [
        {"id": 5, "width": 32, "height": 24, "file_name": "000000000005.jpg"},
        {"id": 6, "width": 32, "height": 24, "file_name": "000000000006.jpg"},
    ]
    animals = [
        {"id": 91, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2]},
        {"id": 92, "image_id": 5, "category_id": 1, "bbox": [9, 9, 2, 2]},
        {"id": 93, "image_id": 6, "category_id": 1, "bbox": [3, 3, 2, 2]},
    ]
    for animal in animals:
        animal.update(keypoints=[4, 5, 2] * 17, num_keypoints=17)
    (tmp_path / "annotations").mkdir()
    for split, part in (("train", slice(0, 1)), ("test", slice(1, 2)), ("val", slice(2, 3))):
        content = {"images": images, "annotations": animals[part], "categories": kinds}
        (tmp_path / "annotations" / f"ap10k-{split}-split1.json").write_text(json.dumps(content))
    (tmp_path / "data").mkdir()
    for image in images:
        PIL.Image.new("RGB", (32, 24)).save(tmp_path / "data" / str(image["file_name"]))

    manifest = prepare(tmp_path, crowd=None)

    merged = json.loads((tmp_path / "ImageAnnotation" / "Felidae" / "cat" / "000000000005.json").read_text())
    assert merged["id"] == 5
    assert merged["bbox"] == [1, 1, 2, 2]
    assert (merged["name"], merged["supercategory"]) == ("cat", "Felidae")
    assert manifest["pairs"]["test"]["count"] == 1
    assert {tuple(box.tolist()) for box in (ap10k(tmp_path)[0].box0, ap10k(tmp_path)[0].box1)} == {
        (1, 1, 2, 2),
        (3, 3, 2, 2),
    }


def test_preparing_twice_gives_the_same_lists(small: Path) -> None:
    before = {path.name: path.read_bytes() for path in (small / "pair_lists").iterdir()}
    assert len(before) == 8
    prepare(small, crowd=None)
    assert {path.name: path.read_bytes() for path in (small / "pair_lists").iterdir()} == before


def test_the_module_prepares_from_the_command_line(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "crowd.txt").write_text("000000000009\n")
    assert main([str(small), "--crowd", str(tmp_path / "crowd.txt")]) == 0
    assert "test_cross_family: 12 pairs" in capsys.readouterr().out
    assert main([str(tmp_path / "no")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1


def test_bad_annotations_leave_no_lists(tmp_path: Path) -> None:
    write_annotation(tmp_path, "A/a/000000000001", record("2" * 17, "000000000001", keypoints=[1, 2]))
    with pytest.raises(DataError, match="51 finite numbers"):
        prepare(tmp_path, crowd=None)
    with pytest.raises(DataError, match=r"crowd\.txt: expected this file.*GeoAware"):
        prepare(tmp_path, crowd=tmp_path / "crowd.txt")
    (tmp_path / "crowd.txt").write_text("cow\n")
    with pytest.raises(DataError, match="one image number a line"):
        prepare(tmp_path, crowd=tmp_path / "crowd.txt")
    assert not (tmp_path / "pair_lists").exists()


def test_a_family_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    content = {
        "images": [{"id": 5}],
        "annotations": [{"image_id": 5, "category_id": 1}],
        "categories": [{"id": 1, "name": "cat", "supercategory": "../../out"}],
    }
    for split in ("train", "test", "val"):
        (tmp_path / "annotations" / f"ap10k-{split}-split1.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="below"):
        prepare(tmp_path, crowd=None)


@pytest.mark.usefixtures("unchecked")
def test_other_choices_and_missing_lists_are_refused(small: Path, tmp_path: Path) -> None:
    for choice in ({"subset": "all"}, {"split": "train"}, {"pairs": "both"}, {"hidden": "zero"}):
        with pytest.raises(ConfigError, match=next(iter(choice))):
            ap10k(small, **choice)
    with pytest.raises(ConfigError, match="split"):
        ap10k(small, subset="cross_family", split="trn")
    with pytest.raises(DataError, match="notebook"):
        ap10k(small, pairs="official")
    (small / "pair_lists" / "test.tsv").write_text("Felidae/../x\tb/c/d\tcat\n")
    with pytest.raises(DataError, match="below"):
        ap10k(small)
    (small / "pair_lists" / "test.tsv").write_text("a/b/c d/e/f cat\n")
    with pytest.raises(DataError, match="source, target and category"):
        ap10k(small)
    (small / "pair_lists" / "test.tsv").unlink()
    with pytest.raises(DataError, match=r"homolog\.data\.ap10k_pairs"):
        ap10k(small)


@pytest.mark.parametrize("path", ["data/x.json", "ImageAnnotation/../a/b.json", "/ImageAnnotation/a/b/c.txt"])
def test_official_pairs_that_lead_elsewhere_are_refused(small: Path, path: str) -> None:
    folder = small / "PairAnnotation" / "test"
    folder.mkdir(parents=True)
    (folder / "1-2:cat.json").write_text(json.dumps({"src_json_path": path, "trg_json_path": path}))
    with pytest.raises(DataError, match=r"below|ImageAnnotation"):
        ap10k(small, pairs="official")


def test_an_image_of_another_size_is_refused(small: Path) -> None:
    data = ap10k(small)
    source = data._pairs[0].source
    PIL.Image.new("RGB", (16, 12)).save(small / "JPEGImages" / f"{source}.jpg")
    with pytest.raises(DataError, match="expected 32 x 24 pixels"):
        data[0]
    (small / "JPEGImages" / f"{source}.jpg").unlink()
    with pytest.raises(DataError, match="expected the image"):
        data[0]
