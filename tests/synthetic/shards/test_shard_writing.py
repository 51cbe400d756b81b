"""Shards in one process: deterministic bytes, resuming, refusals, and nothing half-written."""

import errno
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from homolog.core.errors import ConfigError, DataError, HomologError
from homolog.synthetic.shards.dataset import Description, named_files, read_description, read_index
from homolog.synthetic.shards.reading import ShardedPairs
from homolog.synthetic.shards.writing import write_shards

Content = Callable[[Path], dict[str, bytes]]


def test_the_same_source_gives_the_same_bytes(pairs: Any, write: Any, content: Content, tmp_path: Path):
    first = write(pairs(), tmp_path / "a")
    write(pairs(), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert list(content(tmp_path / "a")) == [
        *("dataset.json", "index.json"),
        *("shard-000000.tar", "shard-000001.tar", "shard-000002.tar"),
    ]
    assert (first.samples, first.kept, first.shards) == (7, 0, 3)
    assert first.size == sum(
        (tmp_path / "a" / f"shard-00000{shard}.tar").stat().st_size for shard in (0, 1, 2)
    )


def test_a_shard_is_a_plain_tar_of_sorted_members_without_traces(folder: Path):
    description = read_description(folder)
    shard = read_index(folder, description)[1]
    path = folder / "shard-000001.tar"
    with tarfile.open(path) as archive:
        entries = archive.getmembers()
        assert archive.pax_headers == {"comment": description.digest}
    assert {
        (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname, entry.mode) for entry in entries
    } == {(0, 0, 0, "", "", 0o644)}
    names = [entry.name for entry in entries]
    assert names == sorted(names)
    assert sorted({name.split(".")[0] for name in names}) == ["00000003", "00000004", "00000005"]
    assert (shard.size, shard.members) == (path.stat().st_size, len(names))
    assert [extent.offset for extent in shard.samples] == [entry.offset for entry in entries[::9]]
    for extent in shard.samples:
        content = path.read_bytes()[extent.offset : extent.offset + extent.size]
        assert hashlib.sha256(content).hexdigest() == extent.sha256
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            assert len(archive.getmembers()) == 9


def test_videos_are_written_too(videos: Any, write: Any, content: Content, tmp_path: Path):
    write(videos(), tmp_path / "a")
    write(videos(), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert read_description(tmp_path / "a").kind == "video"


def test_only_missing_shards_are_made_again(pairs: Any, write: Any, content: Content, folder: Path):
    before = content(folder)
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir() if "000001" not in path.name}
    (folder / "shard-000001.tar").unlink()
    source = pairs()
    seen: list[int] = []
    written = write(source, folder, progress=seen.append)
    assert (written.samples, written.kept) == (3, 4)
    assert source.asked == [0, 3, 4, 5]  # the first one to see whether samples can be stored
    assert seen == [4, 5, 6, 7]
    assert content(folder) == before
    assert {name: (folder / name).stat().st_mtime_ns for name in times} == times


@pytest.mark.parametrize("damage", [None, "{", '{"format": 2, "digest": ""}'])
def test_the_index_is_rebuilt_from_the_tars(
    pairs: Any, write: Any, content: Content, folder: Path, damage: str | None
):
    before = content(folder)
    (folder / "index.json").unlink()
    if damage is not None:
        (folder / "index.json").write_text(damage)
    assert write(pairs(), folder).kept == 7
    assert content(folder) == before


def test_a_shard_that_was_cut_off_is_made_again(pairs: Any, write: Any, content: Content, folder: Path):
    before = content(folder)
    with (folder / "shard-000002.tar").open("r+b") as file:
        file.truncate(1000)
    assert write(pairs(), folder).samples == 1
    assert content(folder) == before


def test_a_finished_folder_is_left_alone(pairs: Any, write: Any, folder: Path):
    source = pairs()
    assert write(source, folder).kept == 7
    assert source.asked == [0]


@pytest.mark.parametrize(
    ("other", "options", "message"),
    [
        ({"seed": 6}, {}, "seed 5 there, 6 now"),
        ({"count": 8}, {}, "count 7 there, 8 now"),
        ({}, {"per_shard": 4}, "per_shard 3 there, 4 now"),
        ({}, {"pictures": "png"}, "pictures jpg there, png now"),
    ],
)
def test_a_folder_of_other_settings_is_refused_and_untouched(
    pairs: Any, write: Any, content: Content, folder: Path, other: Any, options: Any, message: str
):
    before = content(folder)
    with pytest.raises(ConfigError, match=f"got others .*{message}.*choose another folder, or --overwrite"):
        write(pairs(**other), folder, **options)
    assert content(folder) == before


def test_a_shard_of_other_settings_is_refused_without_the_description(pairs: Any, write: Any, folder: Path):
    (folder / "dataset.json").unlink()
    with pytest.raises(ConfigError, match=r"got others \(shard-000000\.tar\)"):
        write(pairs(seed=6), folder)
    assert write(pairs(), folder).kept == 7


def test_a_tar_of_another_program_is_refused(pairs: Any, write: Any, tmp_path: Path):
    path = tmp_path / "shard-000001.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("mine.jpg"))
    with pytest.raises(ConfigError, match=r"got others \(shard-000001\.tar\)"):
        write(pairs(), tmp_path)
    assert path.exists()


def test_force_replaces_shards_of_other_settings(pairs: Any, write: Any, content: Content, tmp_path: Path):
    write(pairs(count=9), tmp_path / "a")
    write(pairs(count=4, seed=6), tmp_path / "a", force=True)
    write(pairs(count=4, seed=6), tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_a_full_disk_leaves_whole_shards_only(
    pairs: Any, write: Any, content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(pairs(), tmp_path / "whole")
    sync, synced = os.fsync, []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 5:  # the description and a tar have two each: this is the second tar
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*free space"):
        write(pairs(), tmp_path / "part")
    there = content(tmp_path / "part")
    assert list(there) == ["dataset.json", "index.json", "shard-000000.tar"]
    assert there["shard-000000.tar"] == content(tmp_path / "whole")["shard-000000.tar"]
    with pytest.raises(DataError, match="expected 3 shards, this one and 1 more are missing"):
        ShardedPairs(tmp_path / "part")
    assert write(pairs(), tmp_path / "part").kept == 3
    assert content(tmp_path / "part") == content(tmp_path / "whole")


def test_a_source_that_fails_leaves_no_half_shard(pairs: Any, write: Any, content: Content, tmp_path: Path):
    source = pairs()

    class Failing:
        count, seed = source.count, source.seed

        def __len__(self) -> int:
            return 7

        def __getitem__(self, index: int) -> Any:
            if index == 4:
                raise DataError("photo.jpg: expected a whole image, got half of one; copy it again")
            return source[index]

    with pytest.raises(DataError, match="half of one"):
        write(Failing(), tmp_path)
    assert list(content(tmp_path)) == ["dataset.json", "index.json", "shard-000000.tar"]


def test_bad_arguments_leave_nothing(pairs: Any, write: Any, tmp_path: Path):
    wrong: list[dict[str, Any]] = [{"workers": 0}, {"per_shard": 0}]
    for options in wrong:
        with pytest.raises(ConfigError):
            write(pairs(), tmp_path / "new", **options)
    with pytest.raises(ConfigError, match="at least one sample"):
        write(pairs(count=0), tmp_path / "new")

    def refused() -> Any:
        raise ConfigError("expected a size of at least 8, got 2")

    with pytest.raises(ConfigError, match="at least 8"):
        write_shards(refused, folder=tmp_path / "new", config={})
    assert not (tmp_path / "new").exists()


def test_a_file_in_place_of_the_folder_is_an_error(pairs: Any, write: Any, tmp_path: Path):
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(DataError, match="taken: cannot write there"):
        write(pairs(), tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "mine"


def test_two_runs_do_not_write_to_one_folder(pairs: Any, write: Any, tmp_path: Path):
    with (
        FileLock(tmp_path / ".homolog-lock"),
        pytest.raises(ConfigError, match="another run is writing there"),
    ):
        write(pairs(), tmp_path)
    assert not (tmp_path / "dataset.json").exists()


def test_leftovers_of_a_killed_run_are_removed(pairs: Any, write: Any, tmp_path: Path):
    (tmp_path / ".homolog-0123.tar").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    write(pairs(), tmp_path)
    assert not (tmp_path / ".homolog-0123.tar").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_description_that_was_changed_by_hand_is_refused(pairs: Any, write: Any, folder: Path):
    path = folder / "dataset.json"
    path.write_text(path.read_text().replace('"seed": 5', '"seed": 6'))
    with pytest.raises(DataError, match="it was changed by hand"):
        write(pairs(), folder)


def test_photos_count_by_content_and_not_by_place(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "photo.jpg").write_bytes(b"one")
    digests = []
    for name in ("a", "b", "b"):
        config = {"_target_": "x", "photos": str(tmp_path / name), "split": "trn"}
        files = named_files(config)
        digests.append(
            Description(kind="pair", count=1, per_shard=1, pictures="jpg", config=config, files=files).digest
        )
        if len(digests) == 2:
            (tmp_path / "b" / "deep" / "photo.jpg").write_bytes(b"two")
    assert digests[0] == digests[1] != digests[2]


def test_other_code_is_a_warning_and_not_an_error(
    pairs: Any, write: Any, folder: Path, caplog: pytest.LogCaptureFixture
):
    path = folder / "dataset.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "code": "0123456789abcdef"}))
    assert write(pairs(), folder).kept == 7
    assert "the code that makes samples has changed" in caplog.text


def test_errors_are_homologs_own(pairs: Any, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(HomologError, match=r"dataset\.json: cannot write it \(Input/output error\)"):
        write(pairs(), tmp_path / "new")
    assert not (tmp_path / "new").exists()
