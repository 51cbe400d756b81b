"""The fingerprint of a matcher: what changes it, what does not, and when there is none."""

from importlib import import_module, metadata
from pathlib import Path

import pytest

from homolog.core.errors import WeightsError
from homolog.zoo.compose import compose
from homolog.zoo.fingerprint import extraction_fingerprint


def of(*settings: str) -> str | None:
    return extraction_fingerprint(compose("match", settings))


def test_it_is_the_same_for_the_same_configuration():
    assert of() == of()
    assert of() != of("matcher=xfeat")


@pytest.mark.parametrize(
    "setting", ["head.window=7", "+memory=5", "head=dual_softmax", "+passes=mean", "+spacing=4", "+cycle=3"]
)
def test_it_ignores_settings_that_act_after_the_extraction(setting: str):
    assert of("matcher=xfeat", setting) == of("matcher=xfeat")


@pytest.mark.parametrize("setting", ["resize=320", "detector.max_keypoints=7", "+enlarge=true"])
def test_it_depends_on_settings_that_determine_the_features(setting: str):
    assert of("matcher=xfeat", setting) != of("matcher=xfeat")


@pytest.mark.parametrize(
    "setting",
    [
        "matches.head.match_threshold=0.3",
        "matches.head=nearest",
        "points.head.temperature=0.1",
        "points.head=nearest",
        "+matches.batch_size=2",
        "follow=false",
    ],
)
def test_it_ignores_what_the_parts_of_the_default_do_after_the_extraction(setting: str):
    assert of(setting) == of()


@pytest.mark.parametrize("setting", ["matches.resize=320", "points.resize=320", "matches.detector=disk"])
def test_it_depends_on_what_the_parts_of_the_default_extract(setting: str):
    assert of(setting) != of()


def test_random_weights_have_no_fingerprint():
    assert of("matcher=xfeat", "backbone.checkpoint=null") is None


def test_weights_count_by_their_content_not_by_their_name(tmp_path: Path):
    files = [tmp_path / name for name in ("one.pt", "two.pt", "three.pt")]
    for file, content in zip(files, (b"weights", b"weights", b"others"), strict=True):
        file.write_bytes(content)
    one, two, three = (of("matcher=xfeat", f"backbone.checkpoint={file}") for file in files)
    assert one == two
    assert one != three


def test_a_folder_of_weights_counts_by_the_content_of_its_files(tmp_path: Path):
    def written(content: str) -> str | None:
        (tmp_path / "unet").mkdir(exist_ok=True)
        (tmp_path / "unet" / "config.json").write_text(content)
        return of("matcher=xfeat", f"backbone.checkpoint={tmp_path}")

    assert written("a") == written("a")
    assert written("a") != written("b")
    before = written("a")
    (tmp_path / ".cache" / "huggingface").mkdir(parents=True)
    (tmp_path / ".cache" / "huggingface" / "config.json.metadata").write_text("a time")
    assert written("a") == before


def test_it_depends_on_the_text_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    portion = tmp_path / "homolog_parts"
    portion.mkdir()
    (portion / "__init__.py").write_text("")
    (portion / "network.py").write_text("WIDTH = 3")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        "homolog.zoo.fingerprint.import_module",
        lambda name: import_module("homolog_parts" if name == "homolog.backbones" else name),
    )
    before = of()
    (portion / "network.py").write_text("WIDTH = 4")
    assert of() != before


def test_a_library_of_another_version_changes_it(monkeypatch: pytest.MonkeyPatch):
    before = of()
    really = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "99" if name == "timm" else really(name))
    assert of() != before


def test_missing_weights_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path))
    monkeypatch.setenv("HOMOLOG_OFFLINE", "1")
    with pytest.raises(WeightsError, match="HOMOLOG_OFFLINE is set"):
        of("matcher=dinov2_nn")
