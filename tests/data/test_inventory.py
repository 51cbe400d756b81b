"""What `homolog data check` knows of a folder."""

from pathlib import Path, PurePosixPath

import pytest

from homolog.core.errors import DataError
from homolog.data.inventory import Found, inspect, layouts
from homolog.data.tss import LAYOUT as TSS


def by_name(root: Path) -> dict[str, Found]:
    return {data_set.name: data_set for data_set in inspect(root).found}


def write(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x\n")


def test_every_layout_says_what_a_user_needs_to_know() -> None:
    found = layouts()
    assert {"SPair-71k", "SPair-U", "AP-10K", "PF-PASCAL (HPF)", "PF-WILLOW", "TSS"} <= {
        layout.name for layout in found
    }
    for layout in found:
        texts = (layout.name, layout.folder, layout.home, layout.licence, layout.obtain)
        assert all(text.strip() == text != "" for text in texts), layout.name
        assert layout.signature, layout.name
        assert layout.expected, layout.name
        patterns = [*layout.signature, *(expected.pattern for expected in layout.expected)]
        assert not any(
            ".." in PurePosixPath(pattern).parts or pattern.startswith("/") for pattern in patterns
        )
        assert any(not expected.optional for expected in layout.expected), layout.name


def test_a_folder_and_its_children_are_recognised_by_their_content(tmp_path: Path) -> None:
    for subset, count in (("FG3DCar", 195), ("JODS", 81), ("PASCAL", 124)):
        for number in range(count):
            names = [f"{kind}{side}" for side in (1, 2) for kind in ("image", "mask", "flow")]
            endings = ("png", "png", "flo") * 2
            files = [f"{name}.{ending}" for name, ending in zip(names, endings, strict=True)]
            write(tmp_path / "renamed" / subset / f"p{number}", *files)
    for root in (tmp_path, tmp_path / "renamed"):
        tss = by_name(root)["TSS"]
        assert tss.complete
        assert tss.path == str(tmp_path / "renamed")
        assert [item.found for item in tss.items] == [195, 81, 124, 800, 800, 800]
    (tmp_path / "renamed" / "JODS" / "p3" / "flow1.flo").unlink()
    tss = by_name(tmp_path)["TSS"]
    assert not tss.complete
    assert [item.what for item in tss.items if not item.complete] == ["pairs of JODS", "correspondences"]


def test_an_empty_folder_with_the_official_name_is_an_incomplete_data_set(tmp_path: Path) -> None:
    (tmp_path / "SPair-71k").mkdir()
    spair = by_name(tmp_path)["SPair-71k"]
    assert not spair.complete
    assert "Download" in spair.obtain
    assert all(item.found == 0 for item in spair.items)


def test_what_is_optional_does_not_make_a_data_set_incomplete(tmp_path: Path) -> None:
    root = tmp_path / "PF-WILLOW"
    write(root, *(f"{kind}/{number}.png" for kind in ("car(G)", "winebottle(M)") for number in range(50)))
    (root / "test_pairs.csv").write_text("header\n" + "row\n" * 900 + "\n")
    willow = by_name(tmp_path)["PF-WILLOW"]
    assert willow.complete
    assert [item.found for item in willow.items] == [100, 900]
    (root / "test_pairs.csv").write_text("header\n" + "row\n" * 899)
    assert not by_name(tmp_path)["PF-WILLOW"].complete


def test_data_sets_that_are_not_there_are_listed_with_their_sources(tmp_path: Path) -> None:
    inventory = inspect(tmp_path)
    assert inventory.found == ()
    assert [absent.name for absent in inventory.absent] == [layout.name for layout in layouts()]
    tss = next(absent for absent in inventory.absent if absent.name == "TSS")
    assert (tss.home, tss.obtain) == (TSS.home, TSS.obtain)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a folder with data sets"):
        inspect(tmp_path / "no")
