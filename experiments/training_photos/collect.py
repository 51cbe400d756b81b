"""Make a folder of freely licensed photos to train on, out of Debian's packages.

    uv run python experiments/training_photos/collect.py --out data/training_photos

Writes `train/` and `heldout/` (every seventh photo and object: nothing of the one is in the other), JPEGs whose longer
side is 800 pixels: the photos of `photos.txt`, and collages of the photographed objects of Tux Paint on such photos,
for landscapes alone have few corners. `sources.json` says what each is made of. The same packages give the same bytes.
`--unpacked` takes packages that are unpacked already (`dpkg -x PACKAGE.deb FOLDER/PACKAGE`), one folder each, where `apt-get` is
none or may not fetch.
"""

import argparse
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

from homolog.core.atomic import write_json

FOLDER = Path(__file__).parent
LONGER = 800
HELD_OUT = 7
"""Every seventh is kept from training."""
OBJECTS = "tuxpaint-stamps-default"
COLLAGES = {"train": 140, "heldout": 20}


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What one of the two sets is made of."""

    photos: list[Path]
    objects: list[Path]


def main() -> None:
    """Fetch, unpack, and write both sets."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--unpacked", type=Path, help="a folder of unpacked packages")
    arguments = parser.parse_args()
    wanted = [line.split() for line in (FOLDER / "photos.txt").read_text(encoding="utf-8").splitlines()]
    listed = [line for line in wanted if line and not line[0].startswith("#")]
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.unpacked or unpack(
            sorted({package for package, _ in listed} | {OBJECTS}), Path(scratch)
        )
        photos = [root / package / path for package, path in listed]
        objects = [path for path in sorted((root / OBJECTS).rglob("*.png")) if photographed(path)]
        made: dict[str, list[str]] = {}
        for name in COLLAGES:
            material = Material(photos=part(photos, name), objects=part(objects, name))
            made |= write(material, arguments.out / name, collages=COLLAGES[name])
    write_json(arguments.out / "sources.json", made)


def unpack(packages: list[str], scratch: Path) -> Path:
    """Fetch packages with apt and unpack them, without installing anything."""
    for package in track(packages, description="packages"):
        subprocess.run(["apt-get", "download", "-qq", package], cwd=scratch, check=True)
        (archive,) = scratch.glob(f"{package}_*.deb")
        subprocess.run(["dpkg", "-x", str(archive), str(scratch / package)], check=True)
    return scratch


def photographed(path: Path) -> bool:
    """Whether a stamp is the photo of a thing of some size."""
    drawn = (
        "cartoon",
        "symbols",
        "clothes",
        "seasonal",
        "flags",
        "naturalforces",
        "newyears",
        "_mirror",
        "toys",
    )
    if any(word in str(path) for word in drawn):
        return False
    with Image.open(path) as image:
        return min(image.size) >= 120


def part(paths: list[Path], name: str) -> list[Path]:
    """Return the share of a set: which one a file belongs to depends on its place in the list alone."""
    return [path for place, path in enumerate(paths) if (place % HELD_OUT == 3) == (name == "heldout")]


def write(material: Material, folder: Path, *, collages: int) -> dict[str, list[str]]:
    """Write photos and collages, and return what each file is made of."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, list[str]] = {}
    for place, path in enumerate(track(material.photos, description=f"{folder.name}: photos")):
        name = f"photo_{place:03}.jpg"
        sized(path).save(folder / name, quality=92)
        made[f"{folder.name}/{name}"] = [short(path)]
    for place in track(range(collages), description=f"{folder.name}: collages"):
        name = f"collage_{place:03}.jpg"
        image, used = collage(material, np.random.default_rng((place, len(material.photos))))
        image.save(folder / name, quality=92)
        made[f"{folder.name}/{name}"] = [short(path) for path in used]
    return made


def collage(material: Material, generator: np.random.Generator) -> tuple[Image.Image, list[Path]]:
    """Put eight to sixteen objects on a photo, each turned and sized at random."""
    ground = material.photos[generator.integers(len(material.photos))]
    image, used = sized(ground), [ground]
    for index in generator.permutation(len(material.objects))[: generator.integers(8, 17)]:
        with Image.open(material.objects[index]) as opened:
            stamp = opened.convert("RGBA")
        side = int(generator.integers(140, 380))
        stamp.thumbnail((side, side), Image.Resampling.LANCZOS)
        if generator.random() < 0.5:
            stamp = stamp.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        stamp = stamp.rotate(float(generator.normal(0, 15)), Image.Resampling.BICUBIC, expand=True)
        corner = [int(generator.integers(-40, max(1, whole - 80))) for whole in image.size]
        image.paste(stamp, (corner[0], corner[1]), stamp)
        used.append(material.objects[index])
    return image, used


def sized(path: Path) -> Image.Image:
    """Read a photo and bring its longer side to 800 pixels."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    factor = LONGER / max(image.size)
    return image.resize(
        (round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS, reducing_gap=3
    )


def short(path: Path) -> str:
    """Return the path inside its package, with the package's name."""
    parts = path.parts
    return "/".join(parts[parts.index("usr") - 1 :])


if __name__ == "__main__":
    main()
