"""Verification finds a flipped byte, a changed label and a lost file, and passes an intact folder."""

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from homolog.core.errors import ConfigError, DataError
from homolog.synthetic.shards.dataset import index_json, read_description, read_index
from homolog.synthetic.shards.verification import verify_shards


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_an_intact_folder_has_no_problems(pairs: Any, videos: Any, write: Any, tmp_path: Path):
    for name, source in (("a", pairs()), ("b", videos())):
        write(source, tmp_path / name)
        seen: list[tuple[int, int]] = []
        steps = source.count + -(-source.count // 3)
        checked = verify_shards(
            tmp_path / name,
            lambda config, source=source: source,
            fraction=1,
            progress=lambda done, of, seen=seen: seen.append((done, of)),
        )
        assert checked.problems == []
        assert checked.regenerated == source.count
        assert checked.worst == 0
        assert checked.members == source.count * (9 if name == "a" else 6)
        assert seen[-1] == (steps, steps)


def test_a_flipped_byte_is_found_in_every_kind_of_member(pairs: Any, folder: Path):
    path = folder / "shard-000001.tar"
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    for member in members:
        before = path.read_bytes()
        flip(path, member.offset_data + member.size // 2)
        checked = verify_shards(folder, lambda config: pairs(), fraction=0)
        (problem,) = checked.problems
        assert (problem.shard, problem.member) == ("shard-000001.tar", member.name.partition(".")[0])
        assert "SHA-256" in problem.what
        path.write_bytes(before)


def test_a_changed_header_is_found(pairs: Any, folder: Path):
    path = folder / "shard-000000.tar"
    with tarfile.open(path) as archive:
        headers = [0, *(member.offset for member in archive.getmembers())]
    for header in headers:
        flip(path, header + 3)  # in the name
        checked = verify_shards(folder, lambda config: pairs(), fraction=0)
        assert [problem.shard for problem in checked.problems] == ["shard-000000.tar"]
        flip(path, header + 3)


def test_samples_of_another_generator_are_found_and_named(pairs: Any, folder: Path):
    checked = verify_shards(folder, lambda config: pairs(seed=6), fraction=0.2)
    assert checked.regenerated == 2
    members = {problem.member for problem in checked.problems}
    assert {"00000000.grid01.png", "00000000.json", "00000000.0.jpg", "00000006.mask1.png"} <= members
    assert {member.split(".")[0] for member in members} == {"00000000", "00000006"}
    assert checked.worst > 2


def test_one_label_that_differs_in_its_last_bit_is_found(
    pairs: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
):

    class Off(pairs):
        def __getitem__(self, index: int) -> Any:
            sample = super().__getitem__(index)
            if index == 4:
                y, x = sample.mask0.nonzero()[0]
                sample.mask0[y, x] = False
            return sample

    checked = verify_shards(folder, lambda config: Off(), fraction=1)
    assert [problem.member for problem in checked.problems] == ["00000004.mask0.png"]


def test_lost_files_are_found(pairs: Any, folder: Path):
    (folder / "shard-000000.tar").unlink()
    description = read_description(folder)
    shards = read_index(folder, description)
    del shards[1]
    (folder / "index.json").write_bytes(index_json(folder, description, shards))
    (folder / "shard-000009.tar").touch()
    checked = verify_shards(folder, lambda config: pairs(), fraction=1)
    reported = {problem.shard: problem.what for problem in checked.problems if not problem.member}
    assert set(reported) == {"shard-000000.tar", "shard-000001.tar", "shard-000009.tar"}
    assert checked.shards == 2
    assert checked.regenerated == 1  # the sample of the last shard


def test_a_cut_tar_is_found(pairs: Any, folder: Path):
    with (folder / "shard-000002.tar").open("r+b") as file:
        file.truncate(2000)
    problems = verify_shards(folder, lambda config: pairs(), fraction=0).problems
    assert {problem.shard for problem in problems} == {"shard-000002.tar"}


def test_a_tar_made_with_other_settings_is_found(pairs: Any, folder: Path):
    path, digest = folder / "shard-000000.tar", read_description(folder).digest
    path.write_bytes(path.read_bytes().replace(digest.encode(), b"0" * 64))
    (problem,) = verify_shards(folder, lambda config: pairs(), fraction=0).problems
    assert "expected a shard of this folder's settings, got one of others" in problem.what


@pytest.mark.parametrize(("fraction", "samples"), [(0, 0), (0.01, 1), (0.5, 4), (1, 7)])
def test_a_fraction_is_spread_over_all_shards(pairs: Any, folder: Path, fraction: float, samples: int):
    source = pairs()
    assert verify_shards(folder, lambda config: source, fraction=fraction).regenerated == samples
    assert len(set(source.asked)) == samples
    if samples > 1:
        assert {0, 6} <= set(source.asked)


def test_the_source_gets_the_configuration_of_the_folder(pairs: Any, folder: Path):
    given: list[Any] = []

    def make(config: Any) -> Any:
        given.append(config)
        return pairs()

    verify_shards(folder, make, fraction=0.1)
    assert given == [{"_target_": "Pairs", "count": 7, "seed": 5}]
    assert given == [json.loads((folder / "dataset.json").read_text())["config"]]


def test_wrong_use_is_one_line(pairs: Any, write: Any, tmp_path: Path):
    with pytest.raises(DataError, match="expected a folder of shards"):
        verify_shards(tmp_path, lambda config: pairs())
    write(pairs(), tmp_path)
    with pytest.raises(ConfigError, match=r"fraction in \[0, 1\], got 2"):
        verify_shards(tmp_path, lambda config: pairs(), fraction=2)
