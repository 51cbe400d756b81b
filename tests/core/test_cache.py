"""The two caches: values, eviction, damage, and several processes at once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.cache import FeatureCache, LRUCache, content_key
from homolog.core.errors import ConfigError


def _tensors(seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "map": torch.randn(1, 4, 6, 5, generator=generator).to(torch.bfloat16),
        "xy": torch.randn(7, 2, generator=generator),
        "empty": torch.zeros(0, 2),
        "scalar": torch.tensor(3.0),
    }


def _same(left: dict[str, torch.Tensor] | None, right: dict[str, torch.Tensor]) -> bool:
    return (
        left is not None
        and left.keys() == right.keys()
        and all(torch.equal(left[k], right[k]) for k in right)
    )


def test_entries_load_bit_for_bit(tmp_path: Path) -> None:
    key = content_key("photo", "recipe")
    FeatureCache(tmp_path).save(key, _tensors())
    loaded = FeatureCache(tmp_path).load(key)
    assert _same(loaded, _tensors())
    assert loaded is not None
    assert loaded["map"].dtype == torch.bfloat16


def test_tensors_that_share_memory_load_as_they_were(tmp_path: Path) -> None:
    xy = torch.rand(5, 2)
    shared = {"0.xy": xy, "1.xy": xy, "first": xy[:2]}
    FeatureCache(tmp_path).save("key", shared)
    assert _same(FeatureCache(tmp_path).load("key"), shared)


def test_an_unknown_key_is_none_and_makes_no_folder(tmp_path: Path) -> None:
    assert FeatureCache(tmp_path / "none").load(content_key("x")) is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "text"])
def test_a_damaged_entry_is_removed_and_can_be_saved_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache, key = FeatureCache(tmp_path), content_key("photo")
    cache.save(key, _tensors())
    (path,) = tmp_path.glob("??/*.safetensors")
    data = bytearray(path.read_bytes())
    data[-3] ^= 0x10
    changed = {"truncate": data[:-5], "flip": data, "empty": b"", "text": b"not a cache entry"}[damage]
    path.write_bytes(bytes(changed))

    assert cache.load(key) is None
    assert "damaged" in caplog.text
    assert not path.exists()
    cache.save(key, _tensors())
    assert _same(cache.load(key), _tensors())


def test_the_least_recently_used_entries_are_evicted(tmp_path: Path) -> None:
    entry = {"map": torch.zeros(1000)}
    probe = FeatureCache(tmp_path / "probe")
    probe.save(content_key("probe"), entry)
    size = probe.info().size
    cache = FeatureCache(tmp_path / "real", limit=4 * size)
    keys = [content_key(str(i)) for i in range(5)]
    for i, key in enumerate(keys[:4]):
        cache.save(key, entry)
        path = next((tmp_path / "real").glob(f"??/{key}.safetensors"))
        os.utime(path, (i, i))
    assert cache.load(keys[0]) is not None  # used just now, so the second is the oldest
    cache.save(keys[4], entry)
    assert cache.info().size <= 4 * size
    assert cache.load(keys[0]) is not None
    assert cache.load(keys[1]) is None
    assert cache.load(keys[4]) is not None


def test_eviction_counts_what_other_processes_wrote(tmp_path: Path) -> None:
    entry = {"map": torch.zeros(1000)}
    one, other = FeatureCache(tmp_path, limit=40_000), FeatureCache(tmp_path, limit=40_000)
    for i in range(8):
        (one if i % 2 else other).save(content_key(str(i)), entry)
    for i in range(8, 20):
        one.save(content_key(str(i)), entry)
    assert one.info().size <= 40_000


def test_saving_twice_counts_once(tmp_path: Path) -> None:
    cache, key = FeatureCache(tmp_path), content_key("photo")
    cache.save(key, _tensors())
    cache.save(key, _tensors())
    assert cache.info().entries == 1
    assert cache._size == cache.info().size


def test_clear_removes_all_entries_and_reports_them(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.save(content_key("a"), _tensors())
    cache.save(content_key("b"), _tensors())
    assert cache.clear().entries == 2
    assert cache.info().entries == 0


def test_a_folder_that_cannot_be_written_is_reported_and_does_not_raise(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    FeatureCache(tmp_path / "file" / "cache").save(content_key("a"), _tensors())
    assert "cannot be written" in caplog.text


@pytest.mark.slow
def test_processes_that_write_and_read_the_same_keys_at_once_never_see_half_an_entry(tmp_path: Path) -> None:
    script = (
        "import sys, logging, torch; from pathlib import Path\n"
        "from homolog.core.cache import FeatureCache, content_key\n"
        "cache = FeatureCache(Path(sys.argv[1]), limit=60_000)\n"
        "for i in range(150):\n"
        "    key = content_key(str(i % 5)); got = cache.load(key)\n"
        "    assert got is None or bool((got['map'] == i % 5).all())\n"
        "    cache.save(key, {'map': torch.full((3000,), float(i % 5))})\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(tmp_path)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outcomes = [(process.communicate()[1], process.returncode) for process in running]
    assert [code for _, code in outcomes] == [0, 0, 0], outcomes
    assert not any(text for text, _ in outcomes), outcomes


@pytest.mark.parametrize("anew", [True, False])
def test_an_entry_that_another_process_moves_while_it_is_read_is_not_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, anew: bool
) -> None:
    cache, other, key = FeatureCache(tmp_path), FeatureCache(tmp_path), content_key("photo")
    cache.save(key, _tensors())

    def moved(path: Path, **_: object) -> None:
        other.clear()
        if anew:
            other.save(key, _tensors())
        raise RuntimeError("No such file or directory (2)")

    with monkeypatch.context() as patch:
        patch.setattr("homolog.core.cache.safe_open", moved)
        assert cache.load(key) is None
    assert not caplog.text
    assert (cache.load(key) is not None) == anew


def test_limits_that_leave_no_room_are_errors() -> None:
    with pytest.raises(ConfigError, match="at least one byte"):
        FeatureCache(limit=0)
    with pytest.raises(ConfigError, match="0 bytes or more"):
        LRUCache(-1)


# --- in memory ------------------------------------------------------------------------------------


def ask(cache: LRUCache[str], key: str, *, size: int = 1) -> bool:
    """Look a key up, store its value if it was missing, and return whether it was."""
    found = cache.get(key)
    if found is None:
        cache.put(key, key.upper(), size)
    return found is None


def test_storing_a_key_again_replaces_its_value():
    cache: LRUCache[str] = LRUCache(5)
    cache.put("a", "old", 3)
    cache.put("a", "new", 4)
    assert (cache.get("a"), cache.size, len(cache)) == ("new", 4, 1)


def test_clear_removes_everything():
    cache: LRUCache[str] = LRUCache(3)
    ask(cache, "a", size=2)
    cache.clear()
    assert cache.size == 0
    assert ask(cache, "a")


@given(limit=st.integers(0, 20), asked=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9))))
def test_it_behaves_like_a_list_ordered_by_use_and_cut_at_the_limit(limit, asked):
    cache: LRUCache[str] = LRUCache(limit)
    twin: list[tuple[str, int]] = []  # oldest first
    for key, size in asked:
        kept = [entry for entry in twin if entry[0] == key]
        assert ask(cache, key, size=size) == (not kept)
        entry = kept[0] if kept else (key, size)
        if kept:
            twin.remove(entry)
        if entry[1] <= limit:
            twin.append(entry)
        while sum(each[1] for each in twin) > limit:
            twin.pop(0)
        assert cache.size == sum(each[1] for each in twin) <= limit
        assert len(cache) == len(twin)
