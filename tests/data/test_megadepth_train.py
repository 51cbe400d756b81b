"""MegaDepth for training: a tiny world, drawn into photos and depth maps, written in D2-Net's and LoFTR's layouts."""

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from omegaconf import OmegaConf

from homolog.core.coords import identity_grid, normalised_to_pixel
from homolog.core.errors import ConfigError, DataError, MissingDependencyError
from homolog.data.annotation import read_depth
from homolog.data.inventory import inspect
from homolog.data.megadepth_train import LAYOUT, MegaDepthTrain
from homolog.zoo.build import build

h5py: Any = pytest.importorskip("h5py", reason="pip install homolog-data[megadepth]")

SIZE = (40, 60)
K = np.array([[50.0, 0, 30.5], [0, 48.0, 20.5], [0, 0, 1]])  # COLMAP's pixels
DEPTHS = "phoenix/S6/zl548/MegaDepth_v1/0001/dense0/depths"


def motion(degrees: float, t: tuple[float, float, float]) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]], t
    return T


# World to camera; the world is the plane z = 4 and, before it, the square |x|, |y| < 0.3 at z = 3.
POSES = [motion(0, (0, 0, 0)), motion(4, (-0.4, 0.1, 0.2)), motion(-6, (0.5, 0, 0)), motion(2, (0, 0, 0.3))]


def depth_of(T: np.ndarray) -> np.ndarray:
    """Cast a ray through each pixel centre, which COLMAP has at halves."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    rays = np.stack((x, y, np.ones_like(x)), -1) @ np.linalg.inv(K).T
    origin, towards = -T[:3, :3].T @ T[:3, 3], rays @ T[:3, :3]
    depth = (4 - origin[2]) / towards[..., 2]
    near = (3 - origin[2]) / towards[..., 2]
    hit = origin[:2] + near[..., None] * towards[..., :2]
    depth = np.where((np.abs(hit) < 0.3).all(-1), near, depth)
    depth[:3] = 0  # sky
    return depth.astype(np.float32)


def write_photos(root: Path) -> tuple[list[Any], list[Any]]:
    images: list[Any] = []
    depths: list[Any] = []
    (root / DEPTHS).mkdir(parents=True)
    (root / "Undistorted_SfM/0001/images").mkdir(parents=True)
    for number, T in enumerate(POSES):
        images.append(f"Undistorted_SfM/0001/images/{number}_o.jpg")
        depths.append(f"{DEPTHS}/{number}_o.h5")
        pixels = np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(root / images[-1])
        with h5py.File(root / depths[-1], "w") as file:
            file.create_dataset("depth", data=depth_of(T))
    return images, depths


def scene_of(images: list[Any], depths: list[Any]) -> dict[str, Any]:
    """As both have it: a fifth image was not reconstructed, a sixth has a mask instead of depth."""

    def column(values: list[Any]) -> np.ndarray:
        made = np.empty(len(values), dtype=object)
        made[:] = values
        return made

    return {
        "image_paths": column([*images, None, "Undistorted_SfM/0001/images/5_o.jpg"]),
        "depth_paths": column([*depths, None, None]),
        "intrinsics": column([*(K for _ in POSES), None, K]),
        "poses": column([*POSES, None, np.eye(4)]),
    }


OVERLAPS = {(0, 1): 0.6, (0, 2): 0.25, (1, 2): 0.4, (0, 3): 0.9, (2, 3): 0.05}


def loftr(root: Path) -> Path:
    scene = scene_of(*write_photos(root / "train"))
    infos = [((i, j), np.float64(share), np.zeros((2, 4))) for (i, j), share in OVERLAPS.items()]
    infos += [((5, 0), 0.5, np.zeros((2, 4)))]
    index = root / "index/scene_info_0.1_0.7"
    index.mkdir(parents=True)
    for name in ("0001_0.1_0.7", "0002_0.1_0.7", "0015_0.1_0.7"):
        (index / f"{name}.npz").write_bytes(pickle.dumps({**scene, "pair_infos": infos}, protocol=4))
    (root / "index/trainvaltest_list").mkdir()
    names = "0001_0.1_0.7\n0002_0.1_0.7\n0015_0.1_0.7\n"
    (root / "index/trainvaltest_list/train_list.txt").write_text(names)
    return root


def d2net(root: Path) -> Path:
    scene = scene_of(*write_photos(root / "train"))
    overlap = np.full((6, 6), -1.0)
    for (i, j), share in OVERLAPS.items():
        overlap[i, j] = overlap[j, i] = share
    np.fill_diagonal(overlap[:4, :4], 0.5)
    points = np.array([{7: [1.0, 2.0]} for _ in range(6)], dtype=object)
    poses = np.empty(6, dtype=object)
    poses[:] = [None if T is None else T.flatten() for T in scene["poses"]]  # as it once wrote them
    folder = root / "index/scene_info_0.1_0.7"
    folder.mkdir(parents=True)
    for name in ("0001.0", "0002.0", "0022.0"):
        members: dict[str, Any] = {
            **scene,
            "poses": poses,
            "overlap_matrix": overlap,
            "scale_ratio_matrix": np.ones((6, 6)),
            "points3D_id_to_2D": points,
        }
        np.savez(folder / f"{name}.npz", **members)
    return root


@pytest.fixture(params=[loftr, d2net], ids=lambda write: write.__name__)
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return request.param(tmp_path / "megadepth")


def read(root: Path, **changes: Any) -> Any:
    plain: dict[str, Any] = {
        "photos": "train",
        "scene_info": "index/scene_info_0.1_0.7",
        "scenes": None,
        "overlap": (0.1, 0.7),
        "pairs_per_scene": 3,
    }
    return MegaDepthTrain(root, **{**plain, **changes})


def test_pairs_of_an_overlap_are_taken_and_those_of_the_benchmark_never(root: Path) -> None:
    data = read(root)
    samples = [data[index] for index in range(len(data))]
    assert len(data) == 2 * 3  # neither 0015 nor 0022
    assert {sample.category for sample in samples} == {"0001", "0002"}
    for category in ("0001", "0002"):
        overlaps = [float(each.facts["overlap"]) for each in samples if each.category == category]
        assert sorted(overlaps) == [0.25, 0.4, 0.6]
    assert {sample.name.split("/")[1] for sample in samples} == {"0-1", "0-2", "1-2"}
    narrow = read(root, overlap=(0.9, 0.9), pairs_per_scene=1)
    assert narrow[0].name.endswith("/0-3")


def test_depth_cameras_and_pose_agree_with_the_world(root: Path) -> None:
    data = read(root)
    for index in range(3):
        sample = data[index]
        first, second = (int(number) for number in sample.name.split("/")[1].split("-"))
        # A corner of the square and a point of the plane behind it, by hand.
        points = np.array([[0.2, -0.1, 3, 1], [0.9, 0.3, 4, 1]])
        for camera, depth, T in (
            (sample.camera0, sample.depth0, POSES[first]),
            (sample.camera1, sample.depth1, POSES[second]),
        ):
            local = points @ T.T
            seen = local[:, :3] @ K.T
            xy = seen[:, :2] / seen[:, 2:] - 0.5  # from COLMAP's pixels to ours
            found = camera.project(torch.from_numpy(local[:, :3]))
            torch.testing.assert_close(found, torch.from_numpy(xy))
            for (x, y), z in zip(xy, local[:, 2], strict=True):
                if 0 <= x <= SIZE[1] - 1 and 3 <= y <= SIZE[0] - 1:
                    assert abs(float(depth[round(y), round(x)]) - z) < 0.05
        moved = torch.from_numpy(points @ POSES[first].T)[:, :3]
        torch.testing.assert_close(
            sample.pose.apply(moved), torch.from_numpy(points @ POSES[second].T)[:, :3], rtol=0, atol=1e-9
        )
        assert sample.depth0[:3].isnan().all()
        assert sample.depth0[3:].isfinite().all()
        assert sample.dense0 is None


def test_dense_truth_leads_to_the_same_place_of_the_world_and_hides_what_is_hidden(tmp_path: Path) -> None:
    data = read(loftr(tmp_path / "megadepth"), dense=(8, 20))
    hidden = 0
    for index in range(3):
        sample = data[index]
        first, second = (int(number) for number in sample.name.split("/")[1].split("-"))
        for field, one, two in ((sample.dense0, first, second), (sample.dense1, second, first)):
            assert field.size == (8, 20)
            # Odd shares of the photo: centres of cells are centres of pixels.
            at = normalised_to_pixel(identity_grid((8, 20)).flatten(1).T.double(), SIZE).numpy()
            there = normalised_to_pixel(field.grid[0].flatten(1).T.double(), SIZE).numpy()
            depth0, depth1 = depth_of(POSES[one]), depth_of(POSES[two])
            for (x, y), target, known in zip(at, there, field.confidence.flatten().tolist(), strict=True):
                z = float(depth0[round(y), round(x)])
                if z == 0:
                    assert known == 0
                    continue
                ray = np.linalg.inv(K) @ [x + 0.5, y + 0.5, 1] * z
                world = np.linalg.inv(POSES[one]) @ [*ray, 1]
                local = (POSES[two] @ world)[:3]
                seen = K @ local
                xy = seen[:2] / seen[2] - 0.5
                within = -0.5 <= xy[0] <= SIZE[1] - 0.5 and -0.5 <= xy[1] <= SIZE[0] - 0.5
                column, row = (int(np.clip(np.rint(v), 0, s - 1)) for v, s in zip(xy, (60, 40), strict=True))
                if abs(xy[0] % 1 - 0.5) < 0.02 or abs(xy[1] % 1 - 0.5) < 0.02:
                    continue  # between two pixels either is the nearest
                front = float(depth1[row, column])
                visible = within and front > 0 and abs(front - local[2]) < 0.05 * local[2]
                assert bool(known) == visible
                hidden += within and front > 0 and not visible
                if visible:
                    np.testing.assert_allclose(target, xy, atol=1e-3)
                else:
                    assert np.isnan(target).all()
    assert hidden > 0  # behind the square


def test_an_index_always_means_the_same_pair_and_an_epoch_gives_each_scene_its_share(root: Path) -> None:
    data = read(root, pairs_per_scene=2, epochs=3)
    names = [data[index].name for index in range(len(data))]
    assert len(names) == 3 * 2 * 2
    again = read(root, pairs_per_scene=2, epochs=3)
    assert [again[index].name for index in reversed(range(len(again)))] == names[::-1]
    for scene in ("0001", "0002"):
        own = [name for name in names if name.startswith(scene)]
        assert len(own) == 6
        # Three pairs in all: none comes back before the others have been.
        assert len(set(own[:3])) == len(set(own[3:])) == 3
    other = read(root, pairs_per_scene=2, epochs=3, seed=1)
    assert [other[index].name for index in range(len(other))] != names
    with pytest.raises(IndexError):
        data[len(data)]


def test_a_list_of_scenes_chooses_and_what_it_names_has_to_be_there(tmp_path: Path) -> None:
    root = loftr(tmp_path / "megadepth")
    (root / "some.txt").write_text("0002_0.1_0.7\n")
    assert len(read(root, scenes="some.txt")) == 3
    assert read(root, scenes="some.txt")[0].category == "0002"
    (root / "some.txt").write_text("0002_0.1_0.7\n0003_0.1_0.7\n")
    with pytest.raises(DataError, match=r"0003_0\.1_0\.7\.npz and 0 more, found none.*Download"):
        read(root, scenes="some.txt")
    (root / "some.txt").write_text("../0002\n")
    with pytest.raises(DataError, match="below"):
        read(root, scenes="some.txt")


def changed(root: Path, **changes: Any) -> None:
    for path in (root / "index/scene_info_0.1_0.7").glob("*.npz"):
        path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), **changes}))


class Evil:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("ran",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pair_infos": [((0, 9), 0.3, None)]}, "image numbers below 6"),
        ({"pair_infos": [(0.3,)]}, r"expected pair_infos as \(\(i, j\), overlap"),
        ({"pair_infos": [((0, 1), 0.8, None)]}, "overlap from 0.1 to 0.7, got none"),
        ({"poses": np.zeros((5, 4, 4))}, "as many of each"),
        ({"poses": np.zeros((6, 4, 4))}, "no rotation"),
        ({"intrinsics": np.zeros((6, 2, 2))}, "3 x 3"),
        ({"image_paths": np.array(["../../etc/passwd"] * 6, dtype=object)}, "the name of a file below"),
        ({"image_paths": np.array(["none.jpg"] * 6, dtype=object)}, r"none\.jpg: expected the photo"),
        ({"depth_paths": np.array(["/none.h5"] * 6, dtype=object)}, "the name of a file below"),
        ({"depth_paths": np.array(["none.h5"] * 6, dtype=object)}, r"none\.h5: expected a depth map"),
        ({"pair_infos": Evil()}, "got one that asks for"),
    ],
)
def test_a_scene_that_says_nonsense_is_a_data_error_of_one_line(
    tmp_path: Path, changes: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    root = loftr(tmp_path / "megadepth")
    changed(root, **changes)
    with pytest.raises(DataError, match=message) as caught:
        read(root)[0]
    assert "\n" not in str(caught.value)
    assert "ran" not in capsys.readouterr().out


def test_a_scene_without_pairs_and_damaged_files_are_named(tmp_path: Path) -> None:
    root = d2net(tmp_path / "megadepth")
    path = root / "index/scene_info_0.1_0.7/0001.0.npz"
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], b"nothing", b""):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"0001\.0\.npz"):
            read(root)[0]
    np.savez(path, image_paths=np.array(["a.jpg"]))
    with pytest.raises(
        DataError, match=r"without depth_paths, intrinsics, poses, pair_infos or overlap_matrix"
    ):
        read(root)[0]


def test_a_photo_of_another_size_than_its_depth_is_refused(tmp_path: Path) -> None:
    root = loftr(tmp_path / "megadepth")
    for path in (root / "train/Undistorted_SfM/0001/images").iterdir():
        PIL.Image.new("RGB", (30, 20)).save(path)
    with pytest.raises(DataError, match=r"the size of its depth map, \[40, 60\], got \[20, 30\]"):
        read(root)[0]


def test_depth_files_that_are_none_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["depth"] = np.ones((4, 5), np.float32)
    assert read_depth(secret).shape == (4, 5)
    elsewhere = {
        "link": lambda file: file.__setitem__("depth", h5py.ExternalLink(str(secret), "depth")),
        "soft": lambda file: file.__setitem__("depth", h5py.SoftLink("/other")),
        "raw": lambda file: file.create_dataset("depth", (4, 5), "f4", external=[(str(secret), 0, 80)]),
        "group": lambda file: file.create_group("depth"),
        "other": lambda file: file.create_dataset("depths", data=np.ones((4, 5))),
    }
    for name, write in elsewhere.items():
        path = tmp_path / f"{name}.h5"
        with h5py.File(path, "w") as file:
            write(file)
        with pytest.raises(DataError, match=rf"{name}\.h5: expected depth \[H W\] in the file itself"):
            read_depth(path)
    for name, values in (("flat", np.ones(4)), ("whole", np.ones((4, 5), np.int64))):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["depth"] = values
        with pytest.raises(DataError, match=rf"{name}\.h5: .* floating-point"):
            read_depth(tmp_path / f"{name}.h5")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("depth", (100_000, 100_000), "f4", chunks=(1000, 1000), compression="gzip")
    with pytest.raises(DataError, match=r"bomb\.h5"):
        read_depth(tmp_path / "bomb.h5")
    (tmp_path / "broken.h5").write_bytes(secret.read_bytes()[:100])
    with pytest.raises(DataError, match=r"broken\.h5: expected a depth map in HDF5"):
        read_depth(tmp_path / "broken.h5")


def test_unknown_depth_is_nan(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["depth"] = np.array([[0, -1, 2], [np.inf, np.nan, 0.5]])
    depth = read_depth(tmp_path / "a.h5")
    assert depth.dtype == torch.float32
    assert depth.isnan().tolist() == [[True, True, False], [True, True, False]]
    assert depth[0, 2] == 2


def test_without_h5py_the_pip_line_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = loftr(tmp_path / "megadepth")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'homolog-data\[megadepth\]'"):
        read(root)[0]


@pytest.mark.parametrize("changes", [{"overlap": (0.7, 0.1)}, {"pairs_per_scene": 0}, {"epochs": 0}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="MegaDepth: expected an overlap within"):
        read(tmp_path, **changes)


def test_the_configuration_reads_the_official_folder_and_data_check_knows_it(
    pytestconfig: pytest.Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOMOLOG_DATA", str(tmp_path))
    config = OmegaConf.load(pytestconfig.rootpath / "configs/data/megadepth_train.yaml")
    node: Any = OmegaConf.to_container(config, resolve=True)
    with pytest.raises(DataError, match=r"MegaDepth \(training\).*Download MegaDepth v1"):
        build(node)
    assert [layout.name for layout in inspect(tmp_path).absent if layout.folder == "megadepth"] == [
        LAYOUT.name
    ]
    loftr(tmp_path / "megadepth")
    data = build(node)
    assert len(data) == 100 * 2 * 100
    assert data[0].category in {"0001", "0002"}
    (found,) = inspect(tmp_path).found
    assert (found.name, found.complete) == (LAYOUT.name, False)
    assert found.configs == ("megadepth_train",)
