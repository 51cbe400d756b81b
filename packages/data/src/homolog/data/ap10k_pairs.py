"""Make GeoAware-SC's pairs of AP-10K from its annotations, the same on every machine.

    python -m homolog.data.ap10k_pairs ap-10k --crowd ap-10k_is_crowd.txt

The recipe is that of GeoAware-SC's `prepare_ap10k.ipynb`, its random draws in its order. The notebook takes
files as the file system lists them, so that two machines get other splits; here they are sorted. What is
written: `ImageAnnotation/<family>/<species>/<image>.json` if it is not there yet, `pair_lists/<split>.tsv`
and `pair_lists/manifest.json` with counts and hashes. Images stay where they are.
"""

import argparse
import hashlib
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from homolog.core.atomic import write_bytes, write_json
from homolog.core.errors import DataError, HomologError
from homolog.data import annotation
from homolog.data.inventory import Expected, Layout

LAYOUT = Layout(
    name="AP-10K",
    folder="ap-10k",
    home="https://github.com/AlexTheBad/AP-10K",
    licence="CC BY 4.0",
    obtain=(
        "Download ap-10k.zip from the link in its README and unpack it; get data/ap-10k_is_crowd.txt of "
        "GeoAware-SC; then run python -m homolog.data.ap10k_pairs FOLDER --crowd ap-10k_is_crowd.txt"
    ),
    signature=("annotations/ap10k-*-split1.json",),
    expected=(
        Expected(what="annotation files of split 1", pattern="annotations/ap10k-*-split1.json", count=3),
        Expected(what="images", pattern="*/**/*.jpg", count=10_015, note="those with labels"),
        Expected(what="annotations by species", pattern="ImageAnnotation/*/*/*.json"),
        Expected(what="lists of pairs", pattern="pair_lists/*.tsv", count=7),
        Expected(
            what="official pairs of the test split",
            pattern="PairAnnotation/test/*.json",
            optional=True,
            note="made by the notebook; choose them with data.pairs=official",
        ),
    ),
    configs=("ap10k_intra", "ap10k_cross_species", "ap10k_cross_family"),
)

SEED = 42
TEST, VAL = 30, 20
"""Images of a species in the test split, filled first, and in the validation split, filled second."""

FEWEST_KEYPOINTS = 3
"""Images need this many keypoints, and pairs this many in common (a hidden one in both counts a quarter)."""

PAIRS_PER_TRAINING_IMAGE = 50
ACROSS_SPECIES = (("val", 400), ("test", 900))
ACROSS_FAMILIES = (("test", 30), ("val", 20))
"""Most pairs for each family, and for each two families, in the order in which they are drawn."""

LISTS = "pair_lists"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Animal:
    """One annotated image.

    Attributes:
        path: `<family>/<species>/<image>`, without ending.
        visibility: [17] 0 not labelled, 1 labelled but hidden, 2 visible.
    """

    path: str
    visibility: np.ndarray

    @property
    def image(self) -> str:
        """The image's number, with leading zeros."""
        return self.path.rsplit("/", 1)[1]


class PairName(NamedTuple):
    """A pair, as a line of a list has it.

    Attributes:
        source: `<family>/<species>/<image>` of image 0.
        target: of image 1.
        category: species, family, or `all`.
    """

    source: str
    target: str
    category: str

    @property
    def official(self) -> str:
        """The name that GeoAware-SC's notebook gives the pair's file."""
        source, target = (path.rsplit("/", 1)[1] for path in self[:2])
        return f"{source}-{target}:{self.category}.json"


Splits = Mapping[str, Mapping[str, Sequence[Animal]]]
"""By split (`train`, `val`, `test`), the images by `<family>/<species>`, sorted."""


def prepare(root: str | Path, *, crowd: str | Path | None) -> dict[str, Any]:
    """Write the lists of pairs, and return the manifest that lies beside them.

    Args:
        root: the folder `ap-10k`, with `annotations`, or with an `ImageAnnotation` that the notebook made.
        crowd: GeoAware-SC's list of images to leave out, `ap-10k_is_crowd.txt`, one number a line; None
            leaves none out, which makes another benchmark than theirs.

    Raises:
        DataError: annotations are missing or damaged, or the lists cannot be written.
    """
    folder = annotation.root_of(root, LAYOUT)
    left_out = _crowd(Path(crowd)) if crowd is not None else set[str]()
    merged = {} if (folder / "ImageAnnotation").is_dir() else merge(folder)
    records = merged or dict(_records(folder))
    splits = split_species(_species(records, left_out))
    lists = {**intra_species(splits), **cross_species(splits), **cross_family(splits)}
    if not any(lists.values()):
        raise DataError(f"{folder}: expected species with images to pair, found none; {LAYOUT.advice()}")
    manifest = {
        "recipe": "GeoAware-SC prepare_ap10k.ipynb, files sorted",
        "seed": SEED,
        "images": len(records),
        "left_out": len(left_out),
        "species": {name: {split: len(splits[split][name]) for split in splits} for name in splits["test"]},
        "pairs": {name: {"count": len(pairs), "sha256": digest(pairs)} for name, pairs in lists.items()},
    }
    for path, record in merged.items():
        write_json(folder / "ImageAnnotation" / f"{path}.json", record)
    for name, pairs in lists.items():
        text = "".join("\t".join(pair) + "\n" for pair in sorted(pairs, key=lambda pair: pair.official))
        write_bytes(folder / LISTS / f"{name}.tsv", text.encode())
    write_json(folder / LISTS / "manifest.json", manifest)
    return manifest


def merge(root: Path) -> dict[str, dict[str, Any]]:
    """Return one record for each image of split 1 by `<family>/<species>/<image>`: the first animal met.

    Raises:
        DataError: an annotation file is missing or damaged.
    """
    parts: dict[str, list[dict[str, Any]]] = {"annotations": [], "images": [], "categories": []}
    for split in ("train", "test", "val"):
        path = root / "annotations" / f"ap10k-{split}-split1.json"
        data = annotation.read_json(path, LAYOUT.advice())
        for key, records in parts.items():
            records.extend(annotation.entry(data, key, path))
    source = root / "annotations"
    images = {annotation.entry(image, "id", source): image for image in parts["images"]}
    species = {annotation.entry(kind, "id", source): kind for kind in parts["categories"]}
    merged: dict[str, dict[str, Any]] = {}
    met = set[object]()
    for record in parts["annotations"]:
        image, kind = (annotation.entry(record, key, source) for key in ("image_id", "category_id"))
        if image in met or image not in images or kind not in species:
            continue
        met.add(image)
        family, name = (annotation.entry(species[kind], key, source) for key in ("supercategory", "name"))
        path = f"{family}/{name}/{int(image):012d}"
        annotation.path_inside(root, path, source)
        merged[path] = {**record, **images[image], "name": name, "supercategory": family}
    return merged


def split_species(species: Mapping[str, Sequence[Animal]]) -> Splits:
    """Split the images of each species: the last 30 for testing, 20 before them for validation, the rest."""
    splits: dict[str, dict[str, Sequence[Animal]]] = {"train": {}, "val": {}, "test": {}}
    for name, animals in species.items():
        test = min(TEST, len(animals))
        val = min(VAL, len(animals) - test)
        train = len(animals) - test - val
        splits["train"][name] = animals[:train]
        splits["val"][name] = animals[train : train + val]
        splits["test"][name] = animals[train + val :]
    return splits


def intra_species(splits: Splits) -> dict[str, list[PairName]]:
    """Return pairs of one species: all for validation and test, at most 50 for each training image."""
    generator = random.Random(SEED)
    lists: dict[str, list[PairName]] = {}
    for split, name in (("train", "trn"), ("test", "test"), ("val", "val")):
        lists[name] = []
        for kind, animals in splits[split].items():
            shuffled = list(animals)
            generator.shuffle(shuffled)
            most = PAIRS_PER_TRAINING_IMAGE * len(shuffled) if split == "train" else sys.maxsize
            possible = [(i, j) for i, j in _matching(shuffled, shuffled) if i < j]
            for i, j in generator.sample(possible, min(most, len(possible))):
                lists[name].append(PairName(shuffled[i].path, shuffled[j].path, kind.split("/")[1]))
    return lists


def cross_species(splits: Splits) -> dict[str, list[PairName]]:
    """Return pairs of two species of one family."""
    generator = random.Random(SEED)
    lists: dict[str, list[PairName]] = {}
    for split, most in ACROSS_SPECIES:
        chosen = lists[f"{split}_cross_species"] = []
        for family, kinds in _families(splits[split]).items():
            possible: list[tuple[Animal, Animal]] = []
            for first, second in combinations(kinds, 2):
                # The notebook means to swap half of the pairs, and assigns to the loop's variable: nothing
                # is swapped, but its generator has moved on by one draw for each.
                for _ in range(len(first) * len(second)):
                    generator.random()
                possible += [(first[i], second[j]) for i, j in _matching(first, second)]
            for source, target in generator.sample(possible, min(most, len(possible))):
                chosen.append(PairName(source.path, target.path, family))
    return lists


def cross_family(splits: Splits) -> dict[str, list[PairName]]:
    """Return pairs of two families."""
    generator = random.Random(SEED)
    lists: dict[str, list[PairName]] = {}
    for split, most in ACROSS_FAMILIES:
        chosen = lists[f"{split}_cross_family"] = []
        animals = [
            [animal for kind in kinds for animal in kind] for kinds in _families(splits[split]).values()
        ]
        for first, second in combinations(animals, 2):
            possible = _matching(first, second)
            for i, j in generator.sample(possible, min(most, len(possible))):
                chosen.append(PairName(first[i].path, second[j].path, "all"))
    return lists


def digest(pairs: Sequence[PairName]) -> str:
    """Return the SHA-256 of the sorted official names of pairs, joined by newlines."""
    return hashlib.sha256("\n".join(sorted(pair.official for pair in pairs)).encode()).hexdigest()


def main(words: Sequence[str] | None = None) -> int:
    """Prepare the folder that the command line names, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m homolog.data.ap10k_pairs", description="Make GeoAware-SC's pairs of AP-10K."
    )
    parser.add_argument("root", type=Path, help="the folder ap-10k")
    parser.add_argument("--crowd", type=Path, help="ap-10k_is_crowd.txt of GeoAware-SC; none leaves none out")
    arguments = parser.parse_args(words)
    try:
        manifest = prepare(arguments.root, crowd=arguments.crowd)
    except HomologError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for name, facts in manifest["pairs"].items():
        sys.stdout.write(f"{name}: {facts['count']:,} pairs\n")
    return 0


def _matching(first: Sequence[Animal], second: Sequence[Animal]) -> list[tuple[int, int]]:
    """Return which pairs have enough keypoints in common, in the order of a product."""
    if not first or not second:
        return []
    seen0, seen1 = (np.stack([animal.visibility for animal in animals]) for animals in (first, second))
    # Visibility is 0, 1, 2; the notebook halves it, so that the sum of products is four times ours.
    common = seen0 @ seen1.T
    return [(int(i), int(j)) for i, j in np.argwhere(common >= 4 * FEWEST_KEYPOINTS)]


def _families(species: Mapping[str, Sequence[Animal]]) -> dict[str, list[Sequence[Animal]]]:
    families: dict[str, list[Sequence[Animal]]] = {}
    for name, animals in species.items():
        families.setdefault(name.split("/")[0], []).append(animals)
    return families


def _species(records: Mapping[str, Mapping[str, Any]], left_out: set[str]) -> dict[str, list[Animal]]:
    species: dict[str, list[Animal]] = {}
    # Families first, then species, then images: what os.walk gives where folders are sorted.
    for path in sorted(records, key=lambda path: path.split("/")):
        kept = species.setdefault(path.rsplit("/", 1)[0], [])
        record = dict(records[path])
        source = Path(f"{path}.json")
        keypoints = annotation.numbers(annotation.entry(record, "keypoints", source), 51, "keypoints", source)
        labelled = annotation.entry(record, "num_keypoints", source)
        if path.rsplit("/", 1)[1] not in left_out and cast(int, labelled) >= FEWEST_KEYPOINTS:
            visibility = np.array(keypoints, dtype=np.int64).reshape(-1, 3)[:, 2]
            kept.append(Animal(path=path, visibility=visibility))
    return species


def _records(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in (root / "ImageAnnotation").glob("*/*/*.json"):
        name = path.relative_to(root / "ImageAnnotation").with_suffix("").as_posix()
        yield name, annotation.read_json(path, LAYOUT.advice())


def _crowd(path: Path) -> set[str]:
    lines = annotation.read_lines(path, "take data/ap-10k_is_crowd.txt of GeoAware-SC")
    odd = [line for line in lines if not line.isdecimal()]
    if odd or not lines:
        raise DataError(f"{path}: expected one image number a line, got {odd[:1]}; take GeoAware-SC's file")
    return {line.zfill(12) for line in lines}


if __name__ == "__main__":
    sys.exit(main())
