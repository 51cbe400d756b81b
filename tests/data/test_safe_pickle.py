"""Pickles of benchmarks are read; pickles that do anything else are refused, and nothing of theirs runs."""

import collections
import contextlib
import datetime
import io
import pickle
import pickletools
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from homolog.core.errors import DataError
from homolog.data.safe_npz import load_npz, read_npy
from homolog.data.safe_pickle import load_pickle, read_pickle


def loads(content: bytes) -> Any:
    return read_pickle(io.BytesIO(content), name="test.pkl")


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray | np.generic):
        if one.dtype == object:
            return one.shape == other.shape and all(map(same, one.ravel(), other.ravel()))
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


CONTENT = {
    "video": np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3),
    "points": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 2, 2),
    "occluded": np.array([[True, False]]),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">f8"),
    "text": np.array(["ab", "cde"]),
    "bytes": np.array([b"ab", b"cde"]),
    "none": np.zeros((0, 3)),
    "scalar": np.float64(0.25),
    "flag": np.bool_(True),
    "objects": np.array([None, "a/b.jpg", np.eye(3), (1, 2)], dtype=object),
    "jpeg": [b"\xff\xd8\x00", b""],
    "nested": [((0, 1), 0.5, np.zeros((2, 4), dtype=np.int64)), {"k": [None, True, 3, 2.5, 1j, "ü"]}],
    "set": {1, 2},
    "frozen": frozenset("ab"),
    5: "a number as a key",
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_containers_come_back_from_every_protocol(protocol: int) -> None:
    assert same(loads(pickle.dumps(CONTENT, protocol=protocol)), CONTENT)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_names_of_numpy_1_and_numpy_2_are_read(protocol: int) -> None:
    pickled = pickle.dumps(np.arange(4.0), protocol=protocol)
    old, new = pickled.replace(b"numpy._core", b"numpy.core"), pickled.replace(b"numpy.core", b"numpy._core")
    if protocol >= 4:  # the length of the name and of the frame stand before them
        old = pickled.replace(b"\x16numpy._core.multi", b"\x15numpy.core.multi").replace(
            b"\x13numpy._core.numeric", b"\x12numpy.core.numeric"
        )
        old = old[:3] + struct.pack("<Q", len(old) - 11) + old[11:]
    assert old != new
    assert b"numpy.core" in old
    for content in (old, new):
        np.testing.assert_array_equal(loads(content), np.arange(4.0))


def python2_array() -> bytes:
    """What Python 2's cPickle wrote for np.array([1.5, -2.0], dtype='<f4'), with its bytes as text."""
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b\x87Rq\x03"
        b"(K\x01K\x02\x85cnumpy\ndtype\nq\x04U\x02f4K\x00K\x01\x87Rq\x05(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + np.array([1.5, -2.0], dtype="<f4").tobytes() + b"tb."
    )


def test_a_python_2_pickle_is_read() -> None:
    array = loads(python2_array())
    assert array.dtype == np.float32
    assert array.tolist() == [1.5, -2.0]


def test_an_ordered_dictionary_comes_as_a_dictionary() -> None:
    assert loads(pickle.dumps(collections.OrderedDict(b=1, a=np.ones(2)), protocol=2)).keys() == {"b", "a"}


def test_what_was_shared_stays_shared() -> None:
    array = np.ones(3)
    one, other = loads(pickle.dumps([array, array]))
    assert one is other


@given(
    npst.arrays(
        st.sampled_from([np.uint8, np.float32, np.int64, np.bool_, "U3"]), npst.array_shapes(min_side=0)
    )
)
def test_any_array_comes_back(array: np.ndarray) -> None:
    assert same(loads(pickle.dumps(array)), array)


class Gadget:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def asking(module: str, name: str, argument: bytes = b"X\x01\x00\x00\x00a") -> bytes:
    """A pickle that calls module.name(argument), whether it exists or not."""
    return b"\x80\x02c" + module.encode() + b"\n" + name.encode() + b"\n" + argument + b"\x85R."


FORBIDDEN = [
    ("os", "system"),
    ("posix", "system"),
    ("builtins", "eval"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("__builtin__", "open"),
    ("subprocess", "Popen"),
    ("numpy", "load"),
    ("numpy", "fromfile"),
    ("numpy", "memmap"),
    ("numpy", "loadtxt"),
    ("numpy", "ndarray.__reduce__"),
    ("numpy.core.multiarray", "fromfile"),
    ("numpy._core.multiarray", "frombuffer"),
    ("numpy.lib.npyio", "load"),
    ("numpy.matrixlib.defmatrix", "matrix"),
    ("numpy.ma.core", "_mareconstruct"),
    ("numpy.random._pickle", "__randomstate_ctor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("pickle", "loads"),
    ("_pickle", "loads"),
    ("copyreg", "_reconstructor"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
    ("collections", "defaultdict"),
    ("datetime", "date"),
    ("homolog.data.safe_pickle", "load_pickle"),
    ("homolog.data.safe_pickle", "pickle.loads"),
]


@pytest.mark.parametrize(("module", "name"), FORBIDDEN)
def test_any_other_name_is_refused_and_said(module: str, name: str) -> None:
    with pytest.raises(DataError, match=f"asks for {module}.{name}".replace(".", r"\.")):
        loads(asking(module, name))


@pytest.mark.parametrize("opcode", [b"i", b"o"])
def test_old_ways_to_call_are_refused_too(opcode: bytes) -> None:
    content = (
        b"(X\x01\x00\x00\x00aios\nsystem\n." if opcode == b"i" else b"(cos\nsystem\nX\x01\x00\x00\x00ao."
    )
    with pytest.raises(DataError, match=r"asks for (os|posix)\.system"):
        loads(content)


def test_nothing_of_a_gadget_runs(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    for gadget in (
        Gadget(Path.touch, victim),
        Gadget(open, str(victim), "w"),
        Gadget(eval, f"open({str(victim)!r}, 'w')"),
        Gadget(np.memmap, str(victim), "u1", "w+", 0, (1,)),
        Gadget(np.fromfile, str(victim)),
    ):
        for protocol in range(6):
            with pytest.raises(DataError):
                loads(pickle.dumps({"points": np.ones(2), "x": [gadget]}, protocol=protocol))
    assert not victim.exists()


@pytest.mark.parametrize("value", [torch.ones(2), datetime.date(2024, 1, 1), np.ma.ones(2), range(3)])
def test_objects_of_other_types_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match=r"asks for|nest|expected"):
        loads(pickle.dumps(value))


def test_structured_arrays_are_refused() -> None:
    with pytest.raises(DataError, match="of the type"):
        loads(pickle.dumps(np.zeros(2, dtype=[("a", "f4"), ("b", "O")])))


MARK_ARRAY = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
FLOAT = b"cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"
OBJECT = b"cnumpy\ndtype\nX\x02\x00\x00\x00O8\x89\x88\x87R"


def state(shape: bytes, dtype: bytes, raw: bytes) -> bytes:
    return b"\x80\x03" + MARK_ARRAY + b"(K\x01" + shape + dtype + b"\x89" + raw + b"tb."


def test_the_hand_made_states_below_are_well_formed() -> None:
    assert loads(state(b"K\x01\x85", FLOAT, b"C\x04\x00\x00\x80?")).tolist() == [1.0]
    assert loads(state(b"K\x02\x85", OBJECT, b"](NNe")).tolist() == [None, None]


@pytest.mark.parametrize(
    "content",
    [
        state(b"J\x00\x00\x00\x40\x85", FLOAT, b"C\x04\x00\x00\x80?"),  # 2 ** 30 numbers from 4 bytes
        state(b"J\x00\x00\x00\x40\x85", OBJECT, b"]"),  # reads behind the list, in numpy
        state(b"K\x03\x85", OBJECT, b"](NNe"),
        state(b"J\xff\xff\xff\xff\x85", FLOAT, b"C\x00"),
        state(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01\x85", FLOAT, b"C\x00"),  # 2 ** 64
        state(b"X\x01\x00\x00\x00a\x85", FLOAT, b"C\x00"),
        state(b"N", FLOAT, b"C\x00"),
        state(b"K\x01\x85", b"N", b"C\x04\x00\x00\x80?"),
        state(b"K\x01\x85", FLOAT, b"N"),
        state(b"K\x01\x85", FLOAT, b"]"),
    ],
)
def test_an_array_whose_shape_and_bytes_disagree_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="damaged or truncated"):
        loads(content)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x0fN.",  # a frame of 2 ** 60
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0fab.",  # bytes of 2 ** 60
        b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x0fab.",  # a bytearray of 2 ** 60
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x0fab.",  # text of 2 ** 60
        b"\x80\x02Nr\xff\xff\xff\xff.",  # memo slot 2 ** 32 - 1
        b"Np4000000000\n.",
        b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",  # a number of 2 ** 31 bytes
        b"cnumpy\nndarray\n(J\x00\x00\x00\x7f\x85tR.",  # ndarray(2 ** 31 - 2 ** 24)
        b"c__builtin__\nbytearray\nJ\x00\x00\x00\x7f\x85R.",
        b"c__builtin__\nbytes\nJ\x00\x00\x00\x7f\x85R.",
        b"c__builtin__\nset\nJ\x00\x00\x00\x7f\x85R.",
        MARK_ARRAY.replace(b"K\x00\x85", b"J\x00\x00\x00\x7f\x85") + b".",
        b"cnumpy\ndtype\nX\x0b\x00\x00\x00V2000000000\x89\x88\x87R.",
        b"cnumpy._core.multiarray\nscalar\n" + FLOAT + b"C\x00\x86R.",
        b"cnumpy._core.multiarray\nscalar\n" + OBJECT + b"N\x86R.",
    ],
)
def test_few_bytes_cannot_ask_for_much_memory(content: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError):
            loads(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def test_one_text_cannot_be_encoded_over_and_over() -> None:
    text = b"X" + struct.pack("<I", 50_000) + b"a" * 50_000 + b"q\x01"
    again = b"c_codecs\nencode\nh\x01X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(DataError, match="unfolds to more bytes"):
        loads(b"\x80\x02" + text + b"0](" + again * 5000 + b"e.")


def test_containers_that_share_lists_stay_small() -> None:
    # 40 lists that each hold the one before ten times: 10 ** 40 items if they were copied.
    nested: list[Any] = []
    for _ in range(40):
        nested = [nested] * 10
    found = loads(pickle.dumps(nested))
    assert found[0] is found[9]


@pytest.mark.parametrize("content", [b"\x80\x02]q\x01h\x01a.", b"\x80\x02}q\x01K\x01h\x01s."])
def test_a_container_that_holds_itself_is_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="nest without end"):
        loads(content)


def test_containers_nested_too_deep_are_refused() -> None:
    with pytest.raises(DataError, match="nest without end"):
        loads(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")


@pytest.mark.parametrize("opcode", [b"Pabc\n", b"\x82\x01", b"\x83\x01\x00", b"\x97", b"C\x01a\x98"])
def test_opcodes_that_lead_out_of_the_file_are_refused(opcode: bytes) -> None:
    with pytest.raises(DataError, match=r"opcode|damaged"):
        loads(b"\x80\x05" + opcode + b".")


def test_what_names_stand_for_cannot_be_changed() -> None:
    # BUILD sets attributes; slots by setattr. The next pickle must find everything as it was.
    for name in (b"cnumpy\ndtype\n", b"c_codecs\nencode\n", b"cnumpy\nndarray\n"):
        for change in (b"}X\x05\x00\x00\x00_callNsb.", b"N}X\x05\x00\x00\x00_callNs\x86b."):
            with pytest.raises(DataError):
                loads(b"\x80\x02" + name + change)
    assert same(loads(pickle.dumps(np.ones(2))), np.ones(2))


def test_allowed_names_are_no_values() -> None:
    with pytest.raises(DataError, match="loose"):
        loads(b"\x80\x02cnumpy\nndarray\n.")


@pytest.mark.parametrize("length", range(0, len(pickle.dumps(CONTENT)), 97))
def test_a_truncated_pickle_is_a_data_error(length: int) -> None:
    with pytest.raises(DataError, match=r"test\.pkl"):
        loads(pickle.dumps(CONTENT)[:length])


@given(st.binary(max_size=60))
def test_garbage_is_a_data_error_or_a_plain_value(content: bytes) -> None:
    try:
        value = loads(content)
    except DataError:
        return
    assert isinstance(
        value, int | float | complex | str | bytes | list | dict | tuple | set | frozenset | np.ndarray | None
    )


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_a_data_error_or_a_plain_value(place: int, byte: int) -> None:
    content = bytearray(pickle.dumps(CONTENT, protocol=4))
    content[place % len(content)] = byte
    with contextlib.suppress(DataError):
        loads(bytes(content))


def test_missing_files_and_folders_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        load_pickle(tmp_path / "a.pkl")
    with pytest.raises(DataError, match="cannot be read"):
        load_pickle(tmp_path)


def test_an_optimised_pickle_is_read() -> None:
    assert same(loads(pickletools.optimize(pickle.dumps(CONTENT, protocol=4))), CONTENT)


def test_an_npz_with_objects_is_read_and_one_with_a_gadget_is_not(tmp_path: Path) -> None:
    objects = np.array([{"a": np.ones(2)}, None, "x"], dtype=object)
    np.savez_compressed(tmp_path / "good.npz", numbers=np.arange(6).reshape(2, 3), objects=objects)
    found = load_npz(tmp_path / "good.npz")
    assert same(found["numbers"], np.arange(6).reshape(2, 3))
    assert same(found["objects"], objects)
    np.savez(tmp_path / "bad.npz", a=np.ones(1), b=np.array([Gadget(print, "ran")], dtype=object))
    with pytest.raises(DataError, match=r"bad\.npz, b\.npy: .* asks for builtins\.print"):
        load_npz(tmp_path / "bad.npz")


def test_an_npz_that_unfolds_too_far_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", zeros=np.zeros(1_000_000))
    with pytest.raises(DataError, match="at most 1,000,000 bytes"):
        load_npz(tmp_path / "a.npz", limit=1_000_000)


def test_a_damaged_or_missing_npz_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="no such file"):
        load_npz(path)
    np.savez_compressed(path, a=np.random.default_rng(0).random(1000))
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], content[:300] + bytes(200) + content[500:], b"PK\x03\x04"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"a\.npz"):
            load_npz(path)


@pytest.mark.parametrize("fortran", [False, True])
def test_an_npy_is_read_as_numpy_does(fortran: bool) -> None:
    array = np.arange(6.0).reshape(2, 3)
    file = io.BytesIO()
    np.save(file, np.asfortranarray(array) if fortran else array)
    file.seek(0)
    assert same(read_npy(file, name="a.npy"), array)


def test_an_npy_that_announces_more_than_it_has_is_refused() -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    file.write(b"\0" * 8)
    file.seek(0)
    with pytest.raises(DataError, match="expected 8,000,000,000,000 bytes"):
        read_npy(file, name="a.npy")
