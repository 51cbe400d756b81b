"""A benchmark's pickle, converted once, says the same without pickle."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from homolog.core.errors import DataError
from homolog.data.converted import convert, main, read_any

SCENE = {
    "image_paths": np.array(["a.jpg", None], dtype=object),
    "poses": np.array([np.eye(4), None], dtype=object),
    "pair_infos": [((0, 1), 0.25, np.arange(8.0).reshape(2, 4)), ((1, 0), np.float64(0.5), np.zeros((0, 4)))],
    "frames": [b"\xff\xd8one", b"", b"three"],
    "one": b"bytes",
    "empty": [],
    3: {"nested": (1, "two", None, True)},
}


def check(found: dict[object, object]) -> None:
    assert list(found) == list(SCENE)
    assert found["frames"] == SCENE["frames"]
    assert found["one"] == b"bytes"
    assert found["empty"] == []
    assert found[3] == {"nested": (1, "two", None, True)}
    poses, paths, infos = found["poses"], found["image_paths"], found["pair_infos"]
    assert isinstance(poses, np.ndarray)
    assert isinstance(paths, np.ndarray)
    assert isinstance(infos, list)
    np.testing.assert_array_equal(poses[0], np.eye(4))
    assert poses[1] is None
    assert paths.tolist() == ["a.jpg", None]
    assert infos[0][:2] == ((0, 1), 0.25)
    np.testing.assert_array_equal(infos[0][2], np.arange(8.0).reshape(2, 4))
    assert infos[1][1] == 0.5
    assert infos[1][2].shape == (0, 4)


@pytest.mark.parametrize("kind", ["pickle", "npz of one dictionary", "npy of one dictionary"])
def test_a_converted_file_says_the_same_as_the_original(tmp_path: Path, kind: str) -> None:
    source, target = tmp_path / "scene.npz", tmp_path / "converted.npz"
    if kind == "pickle":
        source.write_bytes(pickle.dumps(SCENE))
    elif kind.startswith("npz"):
        np.savez(source, np.array(SCENE, dtype=object))
    else:
        with source.open("wb") as file:
            np.save(file, np.array(SCENE, dtype=object))
    check(read_any(source))
    convert(source, target)
    check(read_any(target))


def test_a_converted_file_holds_no_pickle(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(SCENE))
    convert(tmp_path / "a.pkl", tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.testzip() is None
        for name in archive.namelist():
            if name.endswith(".npy"):
                np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)


def test_an_npz_of_arrays_is_read_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "test.npz", name=np.zeros((2, 4), dtype=np.uint16), rel_pose=np.ones((2, 12)))
    found = read_any(tmp_path / "test.npz")
    assert found.keys() == {"name", "rel_pose"}
    assert found["name"].dtype == np.uint16


def test_what_cannot_be_converted_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"s": {1, 2}}))
    with pytest.raises(DataError, match="got set"):
        convert(tmp_path / "a.pkl", tmp_path / "a.npz")
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({(1, 2): 1}))
    with pytest.raises(DataError, match="as keys, got tuple"):
        convert(tmp_path / "a.pkl", tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pkl"]


def test_damaged_converted_files_are_data_errors(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(SCENE))
    convert(tmp_path / "a.pkl", tmp_path / "a.npz")
    content = (tmp_path / "a.npz").read_bytes()
    for length in (0, 3, 10, len(content) // 2, len(content) - 10):
        (tmp_path / "b.npz").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"b\.npz"):
            read_any(tmp_path / "b.npz")
    for tree in (
        "[]",
        "{",
        '{"array": 99}',
        '{"dict": [1]}',
        '{"objects": [{"value": 1}], "shape": [7]}',
        '{"other": 1}',
    ):
        with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
            archive.writestr("tree.json", tree)
        with pytest.raises(DataError, match=r"c\.npz"):
            read_any(tmp_path / "c.npz")


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read it"):
        read_any(tmp_path / "a.npz")


def test_the_command_converts_and_tells_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(SCENE))
    assert main([str(tmp_path / "a.pkl"), str(tmp_path / "a.npz")]) == 0
    check(read_any(tmp_path / "a.npz"))
    assert main([str(tmp_path / "b.pkl"), str(tmp_path / "b.npz")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "b.npz").exists()
