"""COLMAP models that pycolmap writes: read, drawn from, and checked by the projections that pycolmap computes."""

import contextlib
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pycolmap
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from homolog.core.camera import epipolar_distance, fundamental
from homolog.core.errors import ConfigError, DataError, MissingDependencyError
from homolog.core.image import Image
from homolog.core.keypoints import Matches
from homolog.data.colmap import ColmapPairs, covisible_pairs
from homolog.data.colmap_model import MODELS, PINHOLE_IF_ZERO, Lens, View, read_model
from homolog.evaluators.benchmark import Benchmark
from homolog.zoo import load_task

colmap: Any = pycolmap  # its types come and go between releases
WIDTH, HEIGHT = 96, 72
PINHOLE = ("PINHOLE", [90.0, 88.0, 47.0, 37.5])
RADIAL = ("SIMPLE_RADIAL", [80.0, 48.0, 36.0, -0.08])
POINTS = np.random.default_rng(3).uniform((-1.2, -0.8, 4), (1.2, 0.8, 6), (40, 3))


def pose(number: int) -> Any:
    rotation = colmap.Rotation3d(np.array([0.02, -0.06, 0.03]) * number + 0.0)
    return colmap.Rigid3d(rotation, np.array([0.25, -0.1, 0.05]) * number + 0.0)


def seen(number: int) -> range:
    """The points that image `number` sees: 20 of 40, five more to the right with each image."""
    return range(5 * number, 5 * number + 20)


def write(
    root: Path,
    form: str = "binary",
    camera: tuple[str, list[float]] = PINHOLE,
    order: tuple[int, ...] = (0, 1, 2, 3),
) -> Any:
    """Write photos and a model of four images; the numbers of the images follow `order`."""
    model = colmap.Reconstruction()
    taken = colmap.Camera(camera_id=7, model=camera[0], width=WIDTH, height=HEIGHT, params=camera[1])
    model.add_camera_with_trivial_rig(taken)
    where: dict[int, list[Any]] = {}
    for image_id, number in enumerate(order, start=1):
        xy = [taken.img_from_cam(pose(number) * POINTS[point]) for point in seen(number)]
        image = colmap.Image(
            name=f"db/{number}.png", camera_id=7, image_id=image_id, keypoints=np.array([[1.0, 1.0], *xy])
        )
        model.add_image_with_trivial_frame(image, pose(number))
        for row, point in enumerate(seen(number), start=1):  # the keypoint 0 belongs to no point
            where.setdefault(point, []).append(colmap.TrackElement(image_id, row))
        photo(root / "images" / image.name)
    for point in sorted(where):
        model.add_point3D(POINTS[point], colmap.Track(where[point]))
    folder = root / "sparse/0"
    folder.mkdir(parents=True)
    (model.write_text if form == "text" else model.write_binary)(folder)
    if form == "old":  # before COLMAP 3.12
        for name in ("rigs.bin", "frames.bin"):
            (folder / name).unlink()
    return model


def photo(path: Path, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)


def draw(root: Path, **settings: Any) -> ColmapPairs:
    chosen: dict[str, Any] = {
        "images": "images",
        "overlap": (0.1, 0.9),
        "min_shared": 5,
        "undistort": True,
        **settings,
    }
    return ColmapPairs(root=root, **chosen)


def drawn(root: Path, **settings: Any) -> list[str]:
    data = draw(root, **settings)
    return [data[index].name.split("/")[1] for index in range(len(data))]


FORMS = ("binary", "text", "old")


@pytest.mark.parametrize("form", FORMS)
def test_views_are_those_that_pycolmap_reads(tmp_path: Path, form: str) -> None:
    write(tmp_path, form, RADIAL)
    theirs = colmap.Reconstruction(tmp_path / "sparse/0")
    ours = {view.name: view for view in read_model(tmp_path / "sparse/0")}
    assert set(ours) == {image.name for image in theirs.images.values()}
    for image in theirs.images.values():
        view = ours[image.name]
        np.testing.assert_allclose(view.world_to_camera, image.cam_from_world().matrix(), atol=1e-15)
        assert view.lens == Lens("SIMPLE_RADIAL", (HEIGHT, WIDTH), tuple(image.camera.params))
        np.testing.assert_array_equal(view.lens.matrix(), image.camera.calibration_matrix())
        assert view.points.tolist() == sorted(point.point3D_id for point in image.get_observation_points2D())


@pytest.mark.parametrize("form", FORMS)
def test_rigs_of_two_cameras_are_read_by_their_images(tmp_path: Path, form: str) -> None:
    options = colmap.SyntheticDatasetOptions(num_rigs=1, num_cameras_per_rig=2, num_frames_per_rig=3)
    theirs = colmap.synthesize_dataset(options)
    (theirs.write_text if form == "text" else theirs.write_binary)(tmp_path)
    if form == "old":
        (tmp_path / "rigs.bin").unlink()
    ours = {view.name: view for view in read_model(tmp_path)}
    assert len(ours) == theirs.num_images() == 6
    for image in theirs.images.values():
        np.testing.assert_allclose(
            ours[image.name].world_to_camera, image.cam_from_world().matrix(), atol=1e-12
        )


def test_camera_models_are_those_of_pycolmap() -> None:
    theirs = {name: model for name, model in colmap.CameraModelId.__members__.items() if name != "INVALID"}
    assert list(MODELS) == sorted(theirs, key=lambda name: int(theirs[name].value))[: len(MODELS)]
    assert set(theirs) - set(MODELS) == {"EQUIRECTANGULAR"}
    for name, count in MODELS.items():
        camera = colmap.Camera.create_from_model_name(1, name, 90.0, WIDTH, HEIGHT)
        lens = Lens(name, (HEIGHT, WIDTH), tuple(camera.params))
        assert count == len(camera.params)
        np.testing.assert_array_equal(lens.matrix(), camera.calibration_matrix())
        # COLMAP starts from parameters without distortion; `is_undistorted` of pycolmap is true of a fisheye then.
        assert lens.distorted() == (name not in PINHOLE_IF_ZERO)
        ray = np.array([[0.4, -0.3, 1.0]])
        if not lens.distorted():
            np.testing.assert_allclose(camera.img_from_cam(ray), (ray @ lens.matrix().T)[:, :2])


@pytest.mark.parametrize("form", FORMS)
def test_cameras_and_pose_explain_what_pycolmap_projects(tmp_path: Path, form: str) -> None:
    model = write(tmp_path, form)
    data = draw(tmp_path)
    camera = model.cameras[7]
    assert len(data) == 6
    for index in range(len(data)):
        sample = data[index]
        numbers = [int(word) for word in sample.name.split("/")[1].split("-")]
        xy0, xy1 = (
            torch.from_numpy(np.array([camera.img_from_cam(pose(number) * point) for point in POINTS])) - 0.5
            for number in numbers
        )
        assert sample.camera0 is not None
        assert sample.camera1 is not None
        assert sample.pose is not None
        F = fundamental(sample.pose, sample.camera0, sample.camera1)
        assert float(torch.stack(epipolar_distance(xy0, xy1, F)).max()) < 1e-9
        assert float(torch.stack(epipolar_distance(xy0 + 0.5, xy1 + 0.5, F)).max()) > 1e-3
        assert sample.camera0.K[:2, 2].tolist() == [46.5, 37.0]
        there = sample.pose.apply(torch.from_numpy(np.array([pose(numbers[0]) * point for point in POINTS])))
        np.testing.assert_allclose(there, [pose(numbers[1]) * point for point in POINTS], atol=1e-12)


def test_overlap_is_the_fraction_of_common_points(tmp_path: Path) -> None:
    write(tmp_path)
    found = {(pair.first, pair.second): (pair.shared, pair.overlap) for pair in draw(tmp_path)._pairs}
    assert found == {
        (0, 1): (15, 0.75),
        (1, 2): (15, 0.75),
        (2, 3): (15, 0.75),
        (0, 2): (10, 0.5),
        (1, 3): (10, 0.5),
        (0, 3): (5, 0.25),
    }
    assert draw(tmp_path, count=1, overlap=(0.25, 0.25))[0].facts == {
        "overlap": "0.2500",
        "shared points": "5",
    }
    assert sorted(drawn(tmp_path, overlap=(0.5, 0.5))) == ["0-2", "1-3"]  # both bounds are included
    assert sorted(drawn(tmp_path, min_shared=11)) == ["0-1", "1-2", "2-3"]
    assert drawn(tmp_path, names="db/[12].png") == ["1-2"]


@given(st.lists(st.sets(st.integers(0, 30), max_size=12), max_size=8), st.integers(1, 4))
@settings(deadline=None)
def test_covisible_pairs_are_those_of_set_intersections(seen: list[set[int]], least: int) -> None:
    lens = Lens("PINHOLE", (8, 8), (1.0, 1.0, 4.0, 4.0))
    views = [
        View(str(i), np.eye(3, 4), lens, np.array(sorted(each), dtype=np.int64))
        for i, each in enumerate(seen)
    ]
    assert [tuple(pair) for pair in covisible_pairs(views, least)] == [
        (i, j, len(seen[i] & seen[j]), len(seen[i] & seen[j]) / max(len(seen[i]), len(seen[j])))
        for i in range(len(seen))
        for j in range(i + 1, len(seen))
        if len(seen[i] & seen[j]) >= least
    ]


def test_pairs_depend_on_the_seed_and_not_on_the_order_of_the_model(tmp_path: Path) -> None:
    write(tmp_path / "a")
    write(tmp_path / "b", "text", order=(2, 0, 3, 1))
    everything = drawn(tmp_path / "a")
    assert drawn(tmp_path / "b") == everything
    assert drawn(tmp_path / "a", count=2) == everything[:2]
    assert drawn(tmp_path / "a", count=100) == everything
    assert {tuple(drawn(tmp_path / "a", count=2, seed=seed)) for seed in range(4)} > {tuple(everything[:2])}
    names = ["0-1", "0-2", "0-3", "1-2", "1-3", "2-3"]
    random.Random(0).shuffle(names)  # what the docstring promises
    assert everything == names


FISHEYE = ("OPENCV_FISHEYE", [60.0, 61.0, 48.0, 36.0, 0.02, 0.0, 0.0, 0.0])


@pytest.mark.parametrize(("camera", "where"), [(RADIAL, (1.9, -1.2, 5.0)), (FISHEYE, (0.9, -0.5, 5.0))])
def test_a_distorted_photo_becomes_that_of_a_pinhole_camera(
    tmp_path: Path, camera: tuple[str, list[float]], where: tuple[float, float, float]
) -> None:
    model = write(tmp_path, camera=camera)
    # A blurred dot where the lens puts a point.
    point = np.array(where)  # in the camera of image 0
    x, y = model.cameras[7].img_from_cam(point) - 0.5
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8)
    PIL.Image.fromarray((dot * 255).round().astype(np.uint8)).save(tmp_path / "images/db/0.png")
    sample = draw(tmp_path, names="db/[01].png")[0]
    assert sample.camera0 is not None
    weight = sample.image0.pixels[0].numpy()
    found = [float((weight * axis).sum() / weight.sum()) for axis in (columns, rows)]
    expected = sample.camera0.project(torch.from_numpy(point)).tolist()
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert max(abs(x - expected[0]), abs(y - expected[1])) > 0.12  # the lens does move it


def test_photos_that_were_resized_on_disk_are_undistorted_too(tmp_path: Path) -> None:
    write(tmp_path, camera=RADIAL)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    smooth = (127 + 80 * np.sin(columns / 9) * np.cos(rows / 7)).astype(np.uint8)
    large = PIL.Image.fromarray(smooth).resize((2 * WIDTH, 2 * HEIGHT), PIL.Image.Resampling.BICUBIC)
    PIL.Image.fromarray(smooth).save(tmp_path / "images/db/0.png")
    large.save(tmp_path / "images/db/1.png")
    sample = draw(tmp_path, names="db/[01].png")[0]
    assert sample.image1.size == (2 * HEIGHT, 2 * WIDTH)
    assert sample.camera1 is not None
    np.testing.assert_allclose(sample.camera1.K[:2], [[160, 0, 95.5], [0, 160, 71.5]])
    small = torch.nn.functional.avg_pool2d(sample.image1.pixels[None], 2)[0]
    inner = (slice(None), slice(6, -6), slice(6, -6))
    assert float((small - sample.image0.pixels)[inner].abs().max()) < 0.03


def test_distortion_can_be_refused(tmp_path: Path) -> None:
    write(tmp_path, camera=RADIAL)
    with pytest.raises(DataError, match=r"pinhole cameras, got SIMPLE_RADIAL .*image_undistorter"):
        draw(tmp_path, undistort=False)
    write(tmp_path / "straight", camera=("SIMPLE_RADIAL", [80.0, 48.0, 36.0, 0.0]))
    assert len(draw(tmp_path / "straight", undistort=False)) == 6


def test_pycolmap_is_asked_for_only_by_distortion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "pinhole")
    write(tmp_path / "radial", camera=RADIAL)
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    assert draw(tmp_path / "pinhole")[0].image0.size == (HEIGHT, WIDTH)
    with pytest.raises(MissingDependencyError, match=r"pip install 'homolog-data\[colmap\]'"):
        draw(tmp_path / "radial")


def test_a_photo_of_another_shape_is_a_data_error(tmp_path: Path) -> None:
    write(tmp_path)
    photo(tmp_path / "images/db/0.png", (WIDTH, HEIGHT))
    with pytest.raises(DataError, match=r"0\.png: .* 96 x 72, got 72 x 96; .*EXIF"):
        draw(tmp_path, names="db/[01].png")[0]


def test_names_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "text")
    path = tmp_path / "sparse/0/images.txt"
    path.write_text(path.read_text().replace("db/0.png", "../../secret.png"))
    data = draw(tmp_path, overlap=(0.25, 0.25))  # the images 0 and 3
    with pytest.raises(DataError, match="expected the name of a file below"):
        data[0]


@pytest.mark.parametrize("places", [("sparse/0", "sparse"), ("sparse", "."), (".", "model")])
def test_a_model_is_found_where_colmap_puts_it(tmp_path: Path, places: tuple[str, str]) -> None:
    write(tmp_path)
    first, second = places
    shutil.copytree(tmp_path / "sparse/0", tmp_path / "kept")
    shutil.rmtree(tmp_path / "sparse")
    with pytest.raises(
        DataError, match=r"expected a COLMAP model \(images.bin or images.txt\), found none in"
    ):
        draw(tmp_path)
    shutil.copytree(tmp_path / "kept", tmp_path / first, dirs_exist_ok=True)
    assert len(draw(tmp_path)) == 6
    shutil.copytree(tmp_path / "kept", tmp_path / second, dirs_exist_ok=True)
    assert len(draw(tmp_path, model=second)) == 6


def test_both_forms_together_are_read_as_binary(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "sparse/0/images.txt").write_text("nonsense")
    assert len(draw(tmp_path)) == 6


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin"])
def test_every_binary_file_that_is_cut_off_is_a_data_error(tmp_path: Path, name: str) -> None:
    write(tmp_path)
    path = tmp_path / "sparse/0" / name
    whole = path.read_bytes()
    for length in [*range(0, min(len(whole), 200)), *range(200, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=name):
            read_model(path.parent)
    path.write_bytes(whole + b"\0")
    with pytest.raises(DataError, match=f"{name}: expected the end of the file, got 1 more"):
        read_model(path.parent)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_file_with_wrong_bytes_is_read_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("model")
    form = data.draw(st.sampled_from(("binary", "text")))
    write(root, form)
    name = data.draw(st.sampled_from(("cameras", "images"))) + (".txt" if form == "text" else ".bin")
    path = root / "sparse/0" / name
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(DataError):  # anything else fails, and so does reading for ever
        assert len(read_model(path.parent)) <= 4


CHANGES: list[tuple[str, str, Callable[[str], str]]] = [
    ("cameras.txt", "parameters of its model, got PINHOLE", lambda text: text.replace("37.5", "")),
    ("cameras.txt", "got FISHY", lambda text: text.replace("PINHOLE", "FISHY")),
    ("cameras.txt", "parameters of its model", lambda text: text.replace("37.5", "nan")),
    ("cameras.txt", "PARAMS, got", lambda text: text.replace("37.5", "x")),
    ("images.txt", "camera 8, which is not there", lambda text: text.replace(" 7 db", " 8 db")),
    ("images.txt", "a second image of that name", lambda text: text.replace("db/0.png", "db/1.png")),
    ("images.txt", "camera 0, which is not there", lambda text: text.replace(" 7 db", " db")),
    ("images.txt", "CAMERA_ID NAME", lambda text: text.replace(" -1", " minus")),
    ("images.txt", "unit quaternion", lambda text: text.replace("1 1 0 0 0", "1 2 0 0 0")),
    ("images.txt", "finite numbers", lambda text: text.replace("1 1 0 0 0 0 0 0", "1 1 0 0 0 inf 0 0")),
]


@pytest.mark.parametrize(("name", "message", "change"), CHANGES)
def test_text_that_says_nonsense_is_a_data_error(
    tmp_path: Path, name: str, message: str, change: Callable[[str], str]
) -> None:
    write(tmp_path, "text")
    path = tmp_path / "sparse/0" / name
    assert change(path.read_text()) != path.read_text()
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        read_model(path.parent)
    assert name in str(caught.value)


def test_an_image_without_keypoints_has_an_empty_line(tmp_path: Path) -> None:
    write(tmp_path, "text")
    path = tmp_path / "sparse/0/images.txt"
    lines = path.read_text().splitlines()
    row = next(number for number, line in enumerate(lines) if line.endswith("db/1.png"))
    lines[row + 1] = ""
    path.write_text("\n".join(lines))
    assert {view.name: len(view.points) for view in read_model(path.parent)}["db/1.png"] == 0
    assert len(draw(tmp_path)) == 3


def test_missing_files_are_data_errors(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "sparse/0/cameras.bin").unlink()
    with pytest.raises(DataError, match=r"cameras\.bin: expected this file"):
        draw(tmp_path)


def test_unknown_choices_are_refused(tmp_path: Path) -> None:
    write(tmp_path)
    for wrong in ({"overlap": (0.5, 0.1)}, {"overlap": (0.0, 1.5)}, {"min_shared": 0}, {"count": 0}):
        with pytest.raises(ConfigError, match="COLMAP pairs: expected overlaps"):
            draw(tmp_path, **wrong)
    with pytest.raises(DataError, match="among 0 images named 'query/"):
        draw(tmp_path, names="query/*")
    with pytest.raises(DataError, match=r"overlap of 0\.9 to 1 .* among 4 images named '\*', got none"):
        draw(tmp_path, overlap=(0.9, 1.0))


class Projections:
    """A matcher that knows the cameras: the matches of a pair are the projections of all points."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def match(self, image0: Image, image1: Image) -> "Projections":
        self._xy = [self._project(Path(image.name).name) for image in (image0, image1)]
        return self

    def matches(self, limit: int | None = None) -> Matches:
        return Matches(xy0=self._xy[0], xy1=self._xy[1], score=torch.ones(len(POINTS)))

    def _project(self, name: str) -> torch.Tensor:
        image = self._model.find_image_with_name(f"db/{name}")
        xy = [image.camera.img_from_cam(image.cam_from_world() * point) for point in POINTS]
        return torch.from_numpy(np.array(xy)).float() - 0.5


@pytest.mark.parametrize("task", ["colmap_pairs", "aachen_pairs"])
def test_true_matches_score_a_perfect_auc_in_the_tasks(tmp_path: Path, task: str) -> None:
    model: Any = write(tmp_path)
    where = ["data.model=null", "data.images=images"] if task == "aachen_pairs" else []
    loaded = load_task(
        task, f"data.root={tmp_path}", *where, "data.overlap=[0.1,0.9]", "data.min_shared=5", "data.count=4"
    )
    assert isinstance(loaded, Benchmark)
    assert len(loaded) == 4
    matcher: Any = Projections(model)
    scored = loaded.score(loaded.run(matcher))
    assert next(iter(scored)) == {"colmap_pairs": "poselib", "aachen_pairs": "matcha"}[task]
    for name, each in scored.items():
        assert each.scores[0].name == "AUC@5deg"
        assert each.scores[0].value > 0.99, name
