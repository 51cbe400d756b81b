"""`homolog generate` and `homolog data verify`: from the command line to shards and back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from homolog.data.spair import SpairPairs
from homolog.data.tapvid import TapVid
from homolog.synthetic.shards.dataset import read_description
from homolog.synthetic.shards.reading import ShardedPairs, ShardedVideos

SMALL = ("--size", "32", "displacement=6")
SEVEN = ("generate", "homography", "--count", "7", "--per-shard", "3", *SMALL, "--photos")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def made(homolog, photos: Path) -> Path:
    """Seven pairs of homographies in three shards, below the folder that the command works in."""
    said = homolog(*SEVEN, photos, "--out", "made", "--seed", "4")
    assert said.code == 0, said.err
    return Path.cwd() / "made"


def test_it_says_how_much_how_large_and_how_fast(homolog, photos: Path):
    said = homolog("generate", "homography", "--photos", photos, "--count", "2", *SMALL)
    assert said.code == 0
    first, second = said.out.splitlines()
    assert first == "2 samples, in 1 shards in data/synthetic_homography"
    assert "kB a sample; " in second
    assert second.endswith(" samples/s")
    assert "homolog data verify data/synthetic_homography" in said.err


def test_options_and_settings_reach_the_source(homolog, made: Path, photos: Path):
    config = json.loads((made / "dataset.json").read_text())["config"]
    expected = {"count": 7, "size": 32, "seed": 4, "displacement": 6, "split": "trn", "photos": str(photos)}
    assert expected.items() <= config.items()
    read = ShardedPairs(made)
    assert len(read) == 7
    assert read[6].image0.size == (32, 32)
    assert read[6].dense0 is not None


def test_the_same_command_again_keeps_what_is_there(homolog, made: Path, photos: Path):
    before = content(made)
    again = (*SEVEN, photos, "--out", made)
    (made / "shard-000001.tar").unlink()
    said = homolog(*again, "--seed", "4")
    assert said.code == 0
    assert said.out.startswith("7 samples, 4 of them from earlier runs, in 3 shards")
    assert content(made) == before
    said = homolog(*again, "--seed", "5")
    assert said.code == 2
    (line,) = said.err.splitlines()
    assert "seed 4 there, 5 now" in line
    assert content(made) == before
    assert homolog(*again, "--seed", "5", "--overwrite").code == 0
    assert content(made) != before


def test_verify_of_sound_shards_is_exit_code_0(homolog, made: Path):
    said = homolog("data", "verify", made, "--fraction", "0.5")
    assert said.code == 0
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[1][:4] == ["SHA-256", "of", "files", "49"]
    assert rows[2][:3] == ["regenerated", "pairs", "4"]
    assert said.out.count("; correct") == 2


def test_verify_of_a_flipped_byte_is_exit_code_1_and_names_the_member(homolog, made: Path):
    path = made / "shard-000001.tar"
    damaged = bytearray(path.read_bytes())
    damaged[2000] ^= 1  # after the global header, in the first image
    path.write_bytes(damaged)
    said = homolog("data", "verify", made, "--fraction", "0")
    assert said.code == 1
    assert "shard-000001.tar 00000003 its SHA-256 differs from the index" in said.out
    said = homolog("data", "verify", made, "--json", "--fraction", "0")
    assert said.code == 1
    assert [problem["member"] for problem in json.loads(said.out)["problems"]] == ["00000003"]


def test_verify_notices_other_photos(homolog, made: Path, photos: Path):
    PIL.Image.new("RGB", (64, 64)).save(photos / "d.png")
    said = homolog("data", "verify", made)
    assert said.code == 1
    assert "cannot be made again: photos leads to other content now" in said.out


def test_verify_builds_sources_of_data_only(homolog, made: Path):
    strange = replace(read_description(made), config={"_target_": "homolog.zoo.sources.fetch_folder"})
    (made / "dataset.json").write_bytes(strange.to_json())
    (made / "index.json").unlink()
    said = homolog("data", "verify", made)
    assert said.code == 2
    assert (
        "expected shards of a source in homolog.synthetic, got homolog.zoo.sources.fetch_folder" in said.err
    )


def test_verify_of_another_folder_is_exit_code_3(homolog, tmp_path: Path):
    said = homolog("data", "verify", tmp_path)
    assert said.code == 3
    assert "make one with homolog generate" in said.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("homografy",), 2, "no kind named 'homografy'; did you mean homography?"),
        (("homography", "--photos", "nowhere"), 3, "nowhere: expected a folder with photos, got none"),
        (("mesh", "root=nothing", "--count", "1"), 3, "expected meshes"),
        (("geometric", "--photos", "."), 2, "geometric takes no photos; remove --photos"),
        (("semantic", "trun=3"), 2, "no setting trun; did you mean turn?"),
        (("semantic", "names=[dragon]"), 2, "no category named dragon"),
        (("semantic", "--size", "2", "names=[bottle]"), 2, "size"),
        (("semantic", "--size", "1024", "names=[bottle]", "--count", "1"), 2, "at most 1023 pixels a side"),
        (("semantic", "turn"), 2, "expected settings as key=value, got 'turn'; for example turn=60"),
        (("semantic", "--size", "axb"), 2, "argument --size: invalid size value: 'axb'"),
        (("semantic", "--count", "0"), 2, "argument --count: invalid positive number value: '0'"),
        (
            ("geometric", "--format", "spair"),
            2,
            "--format spair stores semantic samples, got geometric; remove --format",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(homolog, words: tuple[str, ...], code: int, said: str):
    answer = homolog("generate", *words, "--out", "new")
    assert answer.code == code
    (line,) = answer.err.splitlines()
    assert said in line
    assert not Path("new").exists()


def test_a_preview_shows_the_first_samples_and_writes_nothing_else(homolog, photos: Path):
    said = homolog(
        "generate", "homography", "--photos", photos, "--preview", "--count", "2", "--out", "look", *SMALL
    )
    assert said.code == 0
    assert [path.name for path in Path("look").iterdir()] == ["preview.png"]
    picture = np.asarray(PIL.Image.open("look/preview.png"))
    assert picture.shape[2] == 3
    assert picture.shape[0] > 2 * 300


@pytest.mark.slow
def test_semantic_pairs_as_shards_and_as_spair(homolog):
    words = ("generate", "semantic", "--count", "3", "--size", "48", "names=[bottle]", "--split", "val")
    assert homolog(*words, "--out", "a").code == 0
    assert homolog(*words, "--out", "b", "--format", "spair").code == 0
    assert homolog("data", "verify", "a", "--fraction", "1").code == 0
    shards, spair = ShardedPairs("a"), SpairPairs("b", split="val", keypoints="image")
    for index in range(len(spair)):
        number = int(spair.names[index].split("-")[0])
        one, other = shards[number], spair[index]
        assert one.xy0 is not None
        assert other.xy0 is not None
        assert (one.xy0 - other.xy0).abs().max() == 0


@pytest.fixture
def meshes(homolog) -> Path:
    """Two categories of one mesh each, below the folder that the command works in."""
    trimesh: Any = pytest.importorskip("trimesh", reason="homolog-synthetic[meshes] is not installed")
    root = Path.cwd() / "meshes"
    (root / "ring").mkdir(parents=True)
    trimesh.creation.torus(1.0, 0.35).export(root / "ring" / "one.obj")
    box = trimesh.creation.box((1.0, 0.6, 0.4))
    box.visual.vertex_colors = np.linspace(40, 255, 32).reshape(8, 4).astype(np.uint8)
    box.export(root / "box.glb")
    return root


def test_meshes_become_shards_that_can_be_made_again(homolog, meshes: Path):
    words = ("generate", "mesh", "root=meshes", "--size", "48", "--seed", "3", "licence=CC0")
    said = homolog(*words, "--count", "4", "--per-shard", "2", "--out", "made")
    assert said.code == 0, said.err
    read = ShardedPairs(Path("made"))
    assert len(read) == 4
    samples = [read[index] for index in range(4)]
    assert {sample.category for sample in samples} == {"box", "ring"}
    for sample in samples:
        assert sample.facts["licence"].startswith("CC0")
        assert sample.dense0 is not None
        assert sample.dense0.confidence.sum() > 30
    assert homolog("data", "verify", "made", "--fraction", "1").code == 0
    assert homolog(*words, "--preview", "--count", "2", "--out", "look").code == 0
    assert np.asarray(PIL.Image.open("look/preview.png")).std() > 20


@pytest.mark.slow
def test_videos_and_their_preview(homolog):
    words = ("generate", "video", "--count", "2", "--size", "48", "frames=4", "tracks=10", "names=[bottle]")
    assert homolog(*words, "--out", "a").code == 0
    assert homolog("data", "verify", "a", "--fraction", "1").code == 0
    read = ShardedVideos("a")
    assert len(read) == 2
    assert len(read[1].frames) == 4
    assert homolog(*words, "--out", "b", "--format", "tapvid").code == 0
    videos = TapVid(root="b", files="*.npz", size=None)
    assert len(videos) == 2
    tracks, same = videos[1].tracks, read[1].tracks
    assert (tracks.visible == same.visible).all()
    assert (tracks.xy - same.xy)[same.visible].abs().max() < 1e-4
    assert homolog(*words, "--out", "a", "--preview").code == 0
    assert (Path("a") / "preview.png").exists()


@pytest.mark.slow
def test_several_workers_write_the_same(homolog, photos: Path, made: Path):
    said = homolog(*SEVEN, photos, "--seed", "4", "--out", "more", "--workers", "2")
    assert said.code == 0, said.err
    assert content(Path("more")) == content(made)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["dense", "semantic", "geometric", "video"])
def test_synthetic_tasks_need_no_data_on_disk(homolog, task: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOMOLOG_DATA", "nowhere")
    small = ("data.size=48", "data.frames=4", "data.tracks=12") if task == "video" else ("data.size=64",)
    parts = "matches.resize=128", "points.resize=128"
    said = homolog("evaluate", "matcher=small", f"task=synthetic_{task}", *small, *parts, "--limit", "2")
    assert said.code == 0, said.err
    assert "2 of " in said.out
