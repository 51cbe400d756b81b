"""The tasks and protocols of `configs/`: they build, agree with one another, and score from images on."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from skimage import data

from homolog.core.coords import identity_grid
from homolog.core.dense import DenseField
from homolog.core.image import Image, resize
from homolog.core.io import as_image
from homolog.core.protocols import Matcher
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Tracks
from homolog.evaluators.benchmark import Benchmark
from homolog.evaluators.records import ScoringProtocol
from homolog.matchers.tracking import FrameByFrame
from homolog.zoo import load_matcher, load_task
from homolog.zoo.build import build
from homolog.zoo.compose import compose, configs_folder

CONFIGS = configs_folder()
PROTOCOLS = sorted(
    path.relative_to(CONFIGS / "protocol").with_suffix("").as_posix()
    for path in (CONFIGS / "protocol").rglob("*.yaml")
)
TASKS = sorted(path.stem for path in (CONFIGS / "task").glob("*.yaml"))
TEMPORAL = [name for name in TASKS if name.startswith("tapvid_")]


@pytest.fixture
def without_data(tmp_path: Path) -> Path:
    """The configs of homolog, but with empty data sets: none of the real ones is here."""
    shutil.copytree(CONFIGS, tmp_path / "configs")
    for path in (tmp_path / "configs" / "data").glob("*.yaml"):
        path.write_text("size: null\n")
    return tmp_path / "configs"


def composed(file: str) -> dict[str, Any]:
    group, _, name = file.partition("/")
    return compose(f"protocol/{group}/{name}")["protocol"][group]


@pytest.mark.parametrize("file", PROTOCOLS)
def test_a_protocol_has_the_name_of_its_file_and_scores_no_records(file: str):
    protocol = build(composed(file))
    assert isinstance(protocol, ScoringProtocol)
    assert protocol.name.replace("_", "-") == file.replace("_", "-")
    scored = protocol.score([])
    assert scored.scores[0].count == 0
    assert all(isinstance(text, str) and text for text in scored.settings.values())


@pytest.mark.parametrize("task", TASKS)
def test_a_task_builds_and_its_headline_comes_first(task: str, without_data: Path):
    built = load_task(task, configs=without_data)
    assert isinstance(built, Benchmark)
    scored = built.score([])
    assert next(iter(scored)) == built.headline
    assert set(scored) == set(built.protocols)
    # Scores chosen on the test set are never reported beside the others.
    assert not any(name.endswith("best") for name in scored)


@pytest.mark.parametrize("task", TEMPORAL)
def test_data_queries_and_protocol_of_a_temporal_task_agree(task: str):
    config = compose("evaluate", [f"task={task}"])
    modes = {protocol.get("query_mode", "initial") for protocol in config["protocols"].values()}
    assert modes == {config["predict"]["query_mode"]}
    if task != "tapvid_file":
        rasters = {tuple(protocol.get("raster", (256, 256))) for protocol in config["protocols"].values()}
        # Frames are resized once, when they are read: resizing twice would blur them.
        assert rasters == {tuple(config["predict"]["raster"])} == {tuple(config["data"]["size"])}


@pytest.mark.parametrize("file", [file for file in PROTOCOLS if file.endswith("-best")])
def test_a_sweep_takes_everything_but_the_threshold_from_its_base(file: str):
    sweep, base = composed(file), composed(file.removesuffix("-best"))
    assert {**sweep["base"], "name": base["name"]} == base


def test_the_protocols_of_ap10k_differ_in_nothing_but_the_name():
    settings = [{**composed(file), "name": ""} for file in PROTOCOLS if file.startswith("ap10k/")]
    assert len(settings) == 3
    assert settings[1:] == settings[:2]


# --- from images to scores --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    return load_matcher("xfeat", device="cpu")


def photo() -> Image:
    return resize(as_image(data.astronaut()), (256, 256))


def shifted(image: Image, x: int) -> Image:
    return Image(pixels=image.pixels[:, :, x : x + 200].contiguous(), name=f"shifted by {x}")


def test_tracks_from_frames_to_scores(without_data: Path, matcher: Matcher):
    """A camera that pans over a photo: 8 pixels per frame to the right, so points go left."""
    source = photo()
    start = torch.tensor([[x, y] for x in (90.0, 120.0, 150.0) for y in (60.0, 100.0, 140.0, 180.0)])
    frame = torch.arange(4)
    xy = start[:, None] - torch.stack((8.0 * frame, torch.zeros(4)), dim=-1)
    sample = VideoSample(
        frames=[shifted(source, 8 * int(t)) for t in frame],
        tracks=Tracks(
            xy=xy,
            visible=torch.ones(len(start), 4, dtype=torch.bool),
            query_frame=torch.zeros(len(start), dtype=torch.int64),
        ),
        name="pan",
    )
    built = load_task("tapvid_davis", configs=without_data)
    assert isinstance(built, Benchmark)
    task = Benchmark(
        kind="temporal", data=[sample], predict=built.predict, protocols=built.protocols, headline="first"
    )
    scored = task.score(task.run(matcher))["first"]
    values = {score.name: score.value for score in scored.scores}
    # A shift by one cell of the maps: most points arrive within 8 px of the raster.
    assert values["delta@8px"] > 0.7
    assert values["OA"] > 0.7
    assert 0 < values["AJ"] < 1


def test_a_dense_answer_from_images_to_scores(without_data: Path, matcher: Matcher):
    source = photo()
    image0, image1 = shifted(source, 16), shifted(source, 0)
    grid = identity_grid(image0.size)[None].clone()
    grid[:, 0] += 2 * 16 / 200
    known = (grid[:, 0] <= 1).float()
    sample = PairSample(
        image0=image0,
        image1=image1,
        dense0=DenseField(grid=grid, confidence=known),
        name="pan",
        facts={"subset": "JODS"},
    )
    built = load_task("tss", "predict.stride=16", configs=without_data)
    assert isinstance(built, Benchmark)
    task = Benchmark(
        kind="dense", data=[sample], predict=built.predict, protocols=built.protocols, headline="sd_dino"
    )
    scored = task.score(task.run(matcher))["sd_dino"]
    values = {(score.name, score.category): score.value for score in scored.scores}
    assert values["PCK@0.05 per image", ""] > 0.7
    assert values["PCK@0.05 per image", "JODS"] == values["PCK@0.05 per image", ""]
    assert scored.settings["lattice"] == "every 16 px"
    curve = scored.curves["calibration"]
    assert curve.y[-1] > curve.y[0]


def test_a_tracker_is_named_in_yaml_and_made_of_the_matcher_that_is_measured(matcher: Matcher):
    node = {
        "_target_": "homolog.matchers.tracking.FrameByFrame",
        "_partial_": True,
        "visible_above": 0.5,
        "cycle": None,
    }
    make: Any = build({"tracker": node})["tracker"]
    tracker = make(matcher)
    assert isinstance(tracker, FrameByFrame)
    assert tracker.matcher is matcher
