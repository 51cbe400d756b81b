"""Weight files: read safely, and loaded into networks strictly."""

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from homolog.core.errors import WeightsError
from homolog.core.weights import load_state, restore

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}


def _net() -> nn.Linear:
    return nn.Linear(3, 2)


# --- load_state -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".pth", ".bin"])
def test_a_state_dict_reads_back(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"net{ending}"
    if ending == ".safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path)
    state = load_state(path)
    assert state.keys() == STATE.keys()
    assert all(torch.equal(state[key], STATE[key]) for key in STATE)


def test_the_old_file_format_of_torch_reads_too(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "net.pt", _use_new_zipfile_serialization=False)
    assert load_state(tmp_path / "net.pt").keys() == STATE.keys()


def test_a_state_dict_inside_a_larger_file_is_named_by_its_key(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": STATE}, tmp_path / "net.pt")
    assert load_state(tmp_path / "net.pt", key="model").keys() == STATE.keys()
    with pytest.raises(WeightsError, match=r"expected an entry modl; did you mean model\?"):
        load_state(tmp_path / "net.pt", key="modl")
    with pytest.raises(
        WeightsError, match=r"other entries \(epoch \(int\), model \(dict\)\); if one of them is"
    ):
        load_state(tmp_path / "net.pt")


def test_a_missing_key_lists_only_a_few_of_those_that_are_there(tmp_path: Path) -> None:
    torch.save({f"layer{number:03}.weight": torch.ones(1) for number in range(300)}, tmp_path / "net.pt")
    with pytest.raises(WeightsError) as caught:
        load_state(tmp_path / "net.pt", key="extractor")
    assert str(caught.value).endswith(
        "expected an entry extractor; choose from layer000.weight, layer001.weight, layer002.weight, "
        "layer003.weight, layer004.weight and 295 more"
    )


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("import pathlib; pathlib.Path('homolog_was_here').touch()",))


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_format: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Bomb()}, tmp_path / "net.pt", _use_new_zipfile_serialization=new_format)
    with pytest.raises(
        WeightsError, match="expected tensors only, got a damaged pickle or one that runs code"
    ):
        load_state(tmp_path / "net.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(WeightsError, match="expected tensors only"):
        load_state(tmp_path / "bare.pt")
    assert not (tmp_path / "homolog_was_here").exists()


@pytest.mark.parametrize("value", [[torch.ones(1)], torch.ones(1), 3])
def test_what_is_no_mapping_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "net.pt")
    with pytest.raises(WeightsError, match="expected a mapping from names to tensors, got "):
        load_state(tmp_path / "net.pt")


def _whole(ending: str, folder: Path) -> bytes:
    path = folder / f"whole{ending}"
    if ending == ".safetensors":
        save_file(STATE, path)
        return path.read_bytes()
    content = io.BytesIO()
    torch.save(STATE, content, _use_new_zipfile_serialization=ending == ".pt")
    return content.getvalue()


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".pth"])
@given(data=st.data())
def test_a_truncated_file_is_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, ending: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("weights")
    whole = _whole(ending, folder)
    path = folder / f"net{ending}"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(WeightsError) as caught:
        load_state(path)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".safetensors", ".pt"])
@pytest.mark.parametrize("content", [b"", b"text", b"<html>not found</html>" * 100, b"PK\3\4" + b"\0" * 100])
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path: Path, ending: str, content: bytes) -> None:
    (tmp_path / f"net{ending}").write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        load_state(tmp_path / f"net{ending}")
    assert "\n" not in str(caught.value)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="expected a weight file, but there is none; check the path"):
        load_state(tmp_path / "net.pt")


# --- restore --------------------------------------------------------------------------------------


def test_restoring_fills_the_network() -> None:
    net = _net()
    restore(net, STATE, name="net")
    assert torch.equal(net.weight, STATE["weight"])
    assert torch.equal(net.bias, STATE["bias"])


@pytest.mark.parametrize(
    ("state", "excerpt"),
    [
        ({"weight": STATE["weight"]}, "net: the weights do not fit: 1 missing (bias)"),
        (STATE | {"extra": torch.ones(1)}, "1 unexpected (extra)"),
        (STATE | {"bias": torch.ones(3)}, "1 mismatched (bias [3] for [2])"),
        (
            {"bias": torch.ones(3), "other": torch.ones(1)},
            "1 missing (weight); 1 unexpected (other); 1 mismatched (bias [3] for [2])",
        ),
        (STATE | {f"x{i}": torch.ones(1) for i in range(9)}, "9 unexpected (x0, x1, x2, x3, x4 and 4 more)"),
    ],
)
def test_weights_of_another_network_are_refused_and_nothing_is_changed(
    state: dict[str, torch.Tensor], excerpt: str
) -> None:
    net = _net()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        restore(net, state, name="net")
    assert excerpt in str(caught.value)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_weights_of_another_format_under_the_ending_of_this_one_are_refused(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "net.safetensors")
    save_file(STATE, tmp_path / "net.pth")
    for path in tmp_path.iterdir():
        with pytest.raises(WeightsError, match="expected ") as caught:
            load_state(path)
        assert "\n" not in str(caught.value)
