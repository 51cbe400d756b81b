"""Data sets with cameras and poses: written in their official layouts, read, and checked by epipolar geometry.

Each fixture projects the same points of a small world with the cameras that the files describe, in the pixel
convention of the files. Read samples have to explain those projections, moved to our pixels.
"""

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.camera import epipolar_distance, fundamental
from homolog.core.errors import ConfigError, DataError
from homolog.core.samples import PairSample
from homolog.data.converted import convert
from homolog.data.gso import GoogleScannedObjects
from homolog.data.megadepth1500 import MegaDepth1500GlueFactory, MegaDepth1500LoFTR, MegaDepth1500XFeat
from homolog.data.navi import Navi
from homolog.data.pose_pairs import PosePairs, turned
from homolog.data.scannet1500 import ScanNet1500LoFTR, ScanNet1500SuperGlue

rng = np.random.default_rng(5)
WORLD = np.hstack((rng.uniform(-1, 1, (12, 2)), rng.uniform(4, 6, (12, 1))))
K = np.array([[60.0, 0, 33.0], [0, 58.0, 22.5], [0, 0, 1]])
SIZE = (48, 64)


def rotation(axis: int, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    R = np.eye(3)
    R[i, i], R[i, j], R[j, i], R[j, j] = c, -s, s, c
    return R


def motion(R: np.ndarray, t: list[float]) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


# World to camera.
T0 = motion(rotation(1, 4) @ rotation(2, 3), [0.1, 0.2, 0.3])
T1 = motion(rotation(1, -9) @ rotation(0, 5), [-0.7, 0.1, 0.4])


def project(T: np.ndarray, intrinsics: np.ndarray = K) -> np.ndarray:
    seen = (WORLD @ T[:3, :3].T + T[:3, 3]) @ intrinsics.T
    return seen[:, :2] / seen[:, 2:]


def photo(path: Path, size: tuple[int, int] = SIZE, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)


def error(sample: Any, xy0: np.ndarray, xy1: np.ndarray) -> float:
    F = fundamental(sample.pose, sample.camera0, sample.camera1)
    distances = epipolar_distance(torch.from_numpy(xy0), torch.from_numpy(xy1), F)
    return float(torch.stack(distances).max())


def text(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in values.ravel())


class Pairs(Protocol):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> PairSample: ...


@dataclass
class Written:
    read: Callable[[], Pairs]
    corner: float  # what to take off the files' pixels to have ours
    image: Path  # one of those that the first pair needs
    lists: list[Path]  # without each of which nothing can be read
    world: tuple[np.ndarray, np.ndarray] = (T0, T1)


def loftr(root: Path) -> Written:
    paths = ["Undistorted_SfM/0015/images/a.jpg", None, "Undistorted_SfM/0015/images/b.jpg"]
    for path in paths:
        if path:
            photo(root / path)
    scene = {
        "image_paths": np.array(paths, dtype=object),
        "depth_paths": np.array([None, None, None], dtype=object),
        "intrinsics": np.array([K, None, K], dtype=object),
        "poses": np.array([T0, None, T1], dtype=object),
        "pair_infos": [((0, 2), 0.2345, np.zeros((3, 4))), ((2, 0), np.float64(0.3), np.zeros((0, 4)))],
    }
    folder = root / "megadepth_test_1500_scene_info"
    folder.mkdir()
    (folder / "0015_0.1_0.3.npz").write_bytes(pickle.dumps(scene, protocol=2))
    return Written(
        lambda: MegaDepth1500LoFTR(root=root, scene_info=folder, origin="corner"),
        0.5,
        root / str(paths[0]),
        [folder / "0015_0.1_0.3.npz"],
    )


def xfeat(root: Path) -> Written:
    names = ["Undistorted_SfM/0022/images/a.jpg", "Undistorted_SfM/0022/images/b.jpg"]
    for name in names:
        photo(root / name)
    pair = {
        "dataset_name": "MegaDepth",
        "scene_id": "0022",
        "pair_id": 0,
        "pair_names": names,
        "size0_hw": [32, 64],
        "size1_hw": [32, 32],
        "scale0": [1.0, 1.5],
        "scale1": [2.0, 1.5],
        "K0": K.tolist(),
        "K1": K.tolist(),
        "T_0to1": (T1 @ np.linalg.inv(T0)).tolist(),
        "T_1to0": (T0 @ np.linalg.inv(T1)).tolist(),
    }
    (root / "megadepth_1500.json").write_text(json.dumps([pair, pair]))
    return Written(
        lambda: MegaDepth1500XFeat(root=root, pairs="megadepth_1500.json", origin="corner"),
        0.5,
        root / names[0],
        [root / "megadepth_1500.json"],
    )


def gluefactory(root: Path) -> Written:
    lines: list[str] = []
    for name, T in (("0015/a.jpg", T0), ("0015/b.jpg", T1)):
        photo(root / "images" / name)
        parameters = text(np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]]))
        lines.append(f"{name} {text(T[:3, :3])} {text(T[:3, 3])} PINHOLE 64 48 {parameters}")
    (root / "views.txt").write_text("\n".join(lines) + "\n")
    (root / "pairs.txt").write_text("0015/a.jpg 0015/b.jpg\n0015/b.jpg 0015/a.jpg\n")
    return Written(
        lambda: MegaDepth1500GlueFactory(root=root),
        0.5,
        root / "images/0015/a.jpg",
        [root / "views.txt", root / "pairs.txt"],
    )


def scannet_loftr(root: Path) -> Written:
    folder = root / "scene0707_00"
    for frame, T in ((15, T0), (585, T1)):
        photo(folder / "color" / f"{frame}.jpg")
        (folder / "pose").mkdir(exist_ok=True)
        np.savetxt(folder / "pose" / f"{frame}.txt", np.linalg.inv(T), fmt="%.17g")
    relative = (T1 @ np.linalg.inv(T0))[:3]
    np.savez(
        root / "test.npz",
        name=np.array([[707, 0, 15, 585], [707, 0, 585, 15]], dtype=np.uint16),
        rel_pose=np.stack((relative.ravel(), np.linalg.inv(T1 @ np.linalg.inv(T0))[:3].ravel())),
    )
    # For 640 x 480, ten times the size of the frames here.
    larger = np.array([[10, 0, 4.5], [0, 10, 4.5], [0, 0, 1]]) @ K
    np.savez(root / "intrinsics.npz", scene0707_00=larger)
    return Written(
        lambda: ScanNet1500LoFTR(root=root, lists=root, intrinsics="depth_640x480"),
        0.0,
        folder / "color/15.jpg",
        [root / "test.npz", root / "intrinsics.npz"],
    )


def scannet_superglue(root: Path) -> Written:
    larger = np.array([[1296 / 64, 0, (1296 / 64 - 1) / 2], [0, 968 / 48, (968 / 48 - 1) / 2], [0, 0, 1]]) @ K
    names = ["scene0707_00/frame-000015.jpg", "scene0707_00/frame-000585.jpg"]
    for name in names:
        photo(root / name)
    forth, back = T1 @ np.linalg.inv(T0), T0 @ np.linalg.inv(T1)
    lines = [
        f"{names[0]} {names[1]} 0 0 {text(larger)} {text(larger)} {text(forth)}",
        f"{names[1]} {names[0]} 0 0 {text(larger)} {text(larger)} {text(back)}",
    ]
    (root / "scannet_test_pairs_with_gt.txt").write_text("\n".join(lines))
    return Written(
        lambda: ScanNet1500SuperGlue(root=root),
        0.0,
        root / names[0],
        [root / "scannet_test_pairs_with_gt.txt"],
    )


def navi(root: Path) -> Written:
    # NAVI's principal point is always the middle, and its focal length one number.
    scene = root / "toy/multiview-00-pixel_5"
    entries: list[dict[str, object]] = []
    for number, T in enumerate((T0, T1)):
        photo(scene / "images" / f"{number:03d}.jpg")
        w = np.sqrt(1 + np.trace(T[:3, :3])) / 2
        x, y, z = (T[2, 1] - T[1, 2]) / (4 * w), (T[0, 2] - T[2, 0]) / (4 * w), (T[1, 0] - T[0, 1]) / (4 * w)
        camera = {"q": [2 * w, 2 * x, 2 * y, 2 * z], "t": T[:3, 3].tolist(), "focal_length": 60.0}
        entries.append({"filename": f"{number:03d}.jpg", "image_size": list(SIZE), "camera": camera})
    (scene / "annotations.json").write_text(json.dumps(entries))
    mask = np.zeros(SIZE, dtype=np.uint8)
    mask[10:20, 5:30] = 255
    (scene / "masks").mkdir()
    PIL.Image.fromarray(mask).save(scene / "masks/000.png")
    lists = root / "custom_splits/pairwise_pixel_correspondences"
    lists.mkdir(parents=True)
    (lists / "pairs-multiview.txt").write_text(
        "toy/multiview-00-pixel_5/images/000.jpg toy/multiview-00-pixel_5/images/001.jpg 15.2\n"
        "toy/multiview-00-pixel_5/001.jpg toy/multiview-00-pixel_5/000.jpg 15.2\n"
    )
    return Written(
        lambda: Navi(root=root, subset="multiview"),
        0.5,
        scene / "images/000.jpg",
        [lists / "pairs-multiview.txt"],
    )


def gso(root: Path) -> Written:
    for number, T in enumerate((T0, T1)):
        photo(root / "mug/rgb" / f"{number:06d}.png")
        for kind, values in (("pose", np.linalg.inv(T)), ("intrinsics", motion(K, [0, 0, 0]))):
            (root / "mug" / kind).mkdir(exist_ok=True)
            (root / "mug" / kind / f"{number:06d}.txt").write_text(text(values))
    return Written(
        lambda: GoogleScannedObjects(root=root, angle=(5.0, 30.0)),
        0.5,
        root / "mug/rgb/000000.png",
        [root / "mug/pose/000000.txt"],
    )


LAYOUTS = [loftr, xfeat, gluefactory, scannet_loftr, scannet_superglue, navi, gso]


@pytest.fixture(params=LAYOUTS, ids=lambda write: write.__name__)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Written:
    (tmp_path / "root").mkdir()
    return request.param(tmp_path / "root")


def projections(written: Written) -> tuple[np.ndarray, np.ndarray]:
    middle = np.array([[60.0, 0, 32], [0, 60, 24], [0, 0, 1]])
    intrinsics = (
        middle if "navi" in str(written.lists[0]) or written.lists[0].name == "pairs-multiview.txt" else K
    )
    xy0, xy1 = (project(T, intrinsics) - written.corner for T in written.world)
    return xy0, xy1


def test_cameras_and_pose_explain_the_projections_of_the_world(written: Written) -> None:
    data = written.read()
    xy0, xy1 = projections(written)
    assert error(data[0], xy0, xy1) < 1e-5
    # The witness can fail: half a pixel in one image, and the other direction, are both seen.
    assert error(data[0], xy0 + 0.5, xy1) > 1e-2
    assert error(data[0], xy1, xy0) > 1e-1


@pytest.mark.parametrize(
    "written",
    [loftr, gluefactory, scannet_loftr, scannet_superglue, navi],
    indirect=True,
    ids=lambda write: write.__name__,
)
def test_the_second_pair_is_the_first_the_other_way_round(written: Written) -> None:
    data = written.read()
    xy0, xy1 = projections(written)
    assert error(data[1], xy1, xy0) < 1e-5


def test_samples_are_named_uniquely_and_images_are_the_files(written: Written) -> None:
    data = written.read()
    samples = [data[index] for index in range(len(data))]
    assert len({sample.name for sample in samples}) == len(samples)
    assert samples[0].image0.size == SIZE
    assert samples[0].category
    with pytest.raises(IndexError):
        data[len(data)]


# GSO has no list: its photos are what lies there.
@pytest.mark.parametrize("written", LAYOUTS[:-1], indirect=True, ids=lambda write: write.__name__)
def test_a_missing_photo_is_named_when_it_is_asked_for(written: Written) -> None:
    data = written.read()
    written.image.unlink()
    with pytest.raises(DataError, match=written.image.name):
        data[0]


def test_a_damaged_photo_is_named(written: Written) -> None:
    written.image.write_bytes(written.image.read_bytes()[:200])
    with pytest.raises(DataError, match=written.image.name):
        written.read()[0]


def test_missing_lists_say_what_to_do(written: Written) -> None:
    for path in written.lists:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(DataError, match=r"Download|Run|Sign") as caught:
            written.read()
        assert "\n" not in str(caught.value)
        path.write_bytes(content)


def test_damaged_lists_are_named(written: Written) -> None:
    for path in written.lists:
        content = path.read_bytes()
        for broken in (content[: len(content) // 3], b"\xff\xfe\x00garbage\x00"):
            path.write_bytes(broken)
            with pytest.raises(DataError, match=path.name):
                written.read()[0]
        path.write_bytes(content)


def test_a_missing_root_says_how_to_get_the_data(written: Written, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "root")
    with pytest.raises(DataError, match="homolog data check"):
        written.read()


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "a/../../b.jpg", "C:/b.jpg", "a\\..\\b.jpg"]
)
def test_lists_cannot_lead_out_of_the_root(tmp_path: Path, name: str) -> None:
    line = f"{name} b.jpg 0 0 {text(K)} {text(K)} {text(np.eye(4))}"
    (tmp_path / "list.txt").write_text(line)
    with pytest.raises(DataError, match=r"list\.txt: expected the name of a file below"):
        PosePairs(root=tmp_path, pairs="list.txt", origin="centre")[0]
    written = xfeat(tmp_path)
    entries = json.loads(written.lists[0].read_text())
    entries[0]["pair_names"][0] = name
    written.lists[0].write_text(json.dumps(entries))
    with pytest.raises(DataError, match=r"megadepth_1500\.json: expected the name of a file below"):
        written.read()[0]


def test_loftr_lists_are_read_after_conversion_and_as_npz_of_objects(tmp_path: Path) -> None:
    written = loftr(tmp_path)
    (path,) = written.lists
    scene = pickle.loads(path.read_bytes())
    convert(path, tmp_path / "converted.npz")
    shutil.move(tmp_path / "converted.npz", path)
    xy0, xy1 = projections(written)
    assert error(written.read()[0], xy0, xy1) < 1e-5
    infos = np.empty(2, dtype=object)
    infos[:] = scene.pop("pair_infos")
    with path.open("wb") as file:
        np.savez_compressed(file, pair_infos=infos, **scene)
    sample = written.read()[0]
    assert error(sample, xy0, xy1) < 1e-5
    assert sample.facts == {"list": "0015_0.1_0.3", "overlap": "0.2345"}


def test_intrinsics_of_megadepth_can_be_taken_as_stored(tmp_path: Path) -> None:
    loftr(tmp_path)
    folder = tmp_path / "megadepth_test_1500_scene_info"
    sample: Any = MegaDepth1500LoFTR(root=tmp_path, scene_info=folder, origin="centre")[0]
    np.testing.assert_array_equal(sample.camera0.K.numpy(), K)
    assert error(sample, project(T0), project(T1)) < 1e-9


@pytest.mark.parametrize(
    "change",
    [
        {"pair_infos": [((0, 7), 0.1, None)]},
        {"pair_infos": [((0,), 0.1, None)]},
        {"pair_infos": [None]},
        {"intrinsics": np.zeros((3, 2, 2))},
        {"poses": np.full((3, 4, 4), np.nan)},
        {"poses": np.zeros((3, 4, 4))},
        {"image_paths": np.array([None, None, None], dtype=object)},
    ],
)
def test_a_scene_that_says_nonsense_is_a_data_error(tmp_path: Path, change: dict[str, object]) -> None:
    written = loftr(tmp_path)
    scene = pickle.loads(written.lists[0].read_bytes())
    written.lists[0].write_bytes(pickle.dumps({**scene, **change}))
    with pytest.raises(DataError, match=r"0015_0\.1_0\.3\.npz"):
        written.read()[0]


def test_a_scene_without_poses_is_a_data_error(tmp_path: Path) -> None:
    written = loftr(tmp_path)
    scene = pickle.loads(written.lists[0].read_bytes())
    del scene["poses"]
    written.lists[0].write_bytes(pickle.dumps(scene))
    with pytest.raises(DataError, match="one without poses"):
        written.read()


def test_photos_that_were_resized_on_disk_get_scaled_intrinsics(tmp_path: Path) -> None:
    for write in (xfeat, gluefactory):
        root = tmp_path / write.__name__
        root.mkdir()
        written = write(root)
        for path in root.rglob("*.jpg"):
            photo(path, (24, 32))
        xy0, xy1 = ((project(T) - 0.5 + 0.5) / 2 - 0.5 for T in (T0, T1))
        assert error(written.read()[0], xy0, xy1) < 1e-5


def test_scannet_colour_intrinsics_belong_to_the_colour_files(tmp_path: Path) -> None:
    scannet_loftr(tmp_path)
    (tmp_path / "intrinsics.npz").unlink()
    with pytest.raises(DataError, match=r"intrinsic_color\.txt"):
        ScanNet1500LoFTR(root=tmp_path, lists=tmp_path, intrinsics="colour")[0]
    (tmp_path / "scene0707_00/intrinsic").mkdir()
    np.savetxt(tmp_path / "scene0707_00/intrinsic/intrinsic_color.txt", motion(K, [0, 0, 0]))
    sample = ScanNet1500LoFTR(root=tmp_path, lists=tmp_path, intrinsics="colour")[0]
    assert error(sample, project(T0), project(T1)) < 1e-9


def test_scannet_without_pose_files_takes_the_poses_of_the_list(tmp_path: Path) -> None:
    written = scannet_loftr(tmp_path)
    shutil.rmtree(tmp_path / "scene0707_00/pose")
    xy0, xy1 = projections(written)
    assert error(written.read()[0], xy0, xy1) < 1e-5
    with np.load(tmp_path / "test.npz") as arrays:
        np.savez(tmp_path / "only_names.npz", name=arrays["name"])
    shutil.move(tmp_path / "only_names.npz", tmp_path / "test.npz")
    with pytest.raises(DataError, match=r"15\.txt"):
        written.read()[0]


def test_a_frame_that_scannet_lost_is_a_data_error(tmp_path: Path) -> None:
    written = scannet_loftr(tmp_path)
    np.savetxt(tmp_path / "scene0707_00/pose/15.txt", np.full((4, 4), -np.inf))
    with pytest.raises(DataError, match=r"15\.txt: .* got NaN or infinity"):
        written.read()[0]


def test_unknown_choices_are_refused(tmp_path: Path) -> None:
    for ask in (
        lambda: Navi(root=tmp_path, subset="video"),  # type: ignore[arg-type]
        lambda: GoogleScannedObjects(root=tmp_path, angle=(90.0, 60.0)),
        lambda: GoogleScannedObjects(root=tmp_path, angle=(15.0, 45.0), pairs_per_object=0),
    ):
        with pytest.raises((ConfigError, TypeError)):
            ask()


@pytest.mark.parametrize("fields", [38, 36, 32])
def test_pose_pairs_come_with_and_without_rotations(tmp_path: Path, fields: int) -> None:
    T = T1 @ np.linalg.inv(T0)
    pose = text(T) if fields > 32 else f"{text(T[:3, :3])} {text(T[:3, 3])}"
    (tmp_path / "list.txt").write_text(
        f"# a comment\n\na.png b.png {'0 0 ' if fields == 38 else ''}{text(K)} {text(K)} {pose}\n"
    )
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    data = PosePairs(root=tmp_path, pairs=tmp_path / "list.txt", origin="centre")
    assert len(data) == 1
    assert error(data[0], project(T0), project(T1)) < 1e-9


def test_a_turned_image_still_leads_to_the_pixels_of_the_file(tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    (tmp_path / "list.txt").write_text(f"a.png b.png 1 3 {text(K)} {text(K)} {text(T1 @ np.linalg.inv(T0))}")
    sample = PosePairs(root=tmp_path, pairs="list.txt", origin="centre")[0]
    assert sample.image0.size == (64, 48)
    assert error(sample, project(T0), project(T1)) < 1e-9  # cameras and pose stay those of the files
    upright = np.asarray(PIL.Image.open(tmp_path / "a.png"))
    for turns in range(4):
        image = turned(PosePairs(root=tmp_path, pairs="list.txt", origin="centre")[0].image1, (turns + 1) % 4)
        for x, y in ((0, 0), (5, 2), (40, 30)):
            there = image.xy_to_original(torch.tensor([float(x), float(y)]))
            column, row = (int(value) for value in there)
            expected = np.asarray(PIL.Image.open(tmp_path / "b.png"))[row, column] / 255
            np.testing.assert_allclose(image.pixels[:, y, x], expected, atol=1e-6)
    np.testing.assert_allclose(
        sample.image0.pixels.permute(1, 2, 0), np.rot90(upright, k=1) / 255, atol=1e-6
    )  # SuperGlue's own call


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png b.png", "expected 38 fields"),
        (f"a.png b.png 0 4 {text(K)} {text(K)} {text(np.eye(4))}", "rotations from 0 to 3"),
        (f"a.png b.png 0 0 {text(K)} {text(K).replace('33.0', 'x')} {text(np.eye(4))}", "got text"),
        (f"a.png b.png 0 0 {text(K)} {text(K).replace('33.0', 'nan')} {text(np.eye(4))}", "NaN"),
        (f"a.png b.png 0 0 {text(-K)} {text(K)} {text(np.eye(4))}", "positive focal lengths"),
        (f"a.png b.png 0 0 {text(K)} {text(K)} {text(2 * np.eye(4))}", "no rotation"),
        ("# nothing", "expected pairs"),
    ],
)
def test_a_wrong_line_is_a_data_error(tmp_path: Path, line: str, message: str) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    (tmp_path / "list.txt").write_text(line)
    with pytest.raises(DataError, match=message):
        PosePairs(root=tmp_path, pairs="list.txt", origin="centre")[0]


def test_gluefactory_refuses_distortion_and_unknown_views(tmp_path: Path) -> None:
    written = gluefactory(tmp_path)
    views, pairs = written.lists
    good = views.read_text()
    views.write_text(good.replace("PINHOLE 64 48", "OPENCV 64 48"))
    with pytest.raises(DataError, match="without distortion, got OPENCV"):
        written.read()
    views.write_text(good)
    pairs.write_text("0015/a.jpg 0015/c.jpg\n")
    with pytest.raises(DataError, match=r"pairs\.txt: expected two views"):
        written.read()


def test_navi_reads_masks_and_angles(tmp_path: Path) -> None:
    sample: Any = navi(tmp_path).read()[0]
    assert sample.mask0.sum() == 10 * 25
    assert bool(sample.mask0[10, 5])
    assert sample.mask1 is None
    assert sample.facts == {"angle": "15.2"}


def test_gso_draws_the_same_pairs_whatever_else_is_there(tmp_path: Path) -> None:
    def thing(name: str) -> None:
        for number in range(8):
            photo(tmp_path / name / "rgb" / f"{number}.png", (16, 16))
            for kind, values in (
                ("pose", motion(rotation(1, 13 * number), [0, 0, 0])),
                ("intrinsics", motion(K, [0, 0, 0])),
            ):
                (tmp_path / name / kind).mkdir(exist_ok=True)
                (tmp_path / name / kind / f"{number}.txt").write_text(text(values))

    def draw(seed: int = 0) -> list[tuple[str, str]]:
        data = GoogleScannedObjects(root=tmp_path, angle=(15.0, 45.0), pairs_per_object=5, seed=seed)
        return [(data[i].name, data[i].facts["angle"]) for i in range(len(data))]

    thing("b")
    alone = draw()
    assert len(alone) == 5
    assert all(15 <= float(angle) <= 45 for _, angle in alone)
    assert all(
        abs(float(angle) - 13 * abs(int(name[2]) - int(name[4]))) < 0.01 for name, angle in alone
    )  # the angle between the views, by hand
    thing("a")
    assert draw()[5:] == alone
    assert draw(seed=1)[5:] != alone
    with pytest.raises(DataError, match=r"150\.0 to 180\.0 degrees apart, got none"):
        GoogleScannedObjects(root=tmp_path, angle=(150.0, 180.0))
