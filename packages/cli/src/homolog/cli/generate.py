"""The story of `homolog generate`: samples from a made-up world, to shards or to a picture."""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from rich.console import Console

from homolog.cli.loading import loading
from homolog.cli.notes import say
from homolog.cli.outcome import FINE, INTERRUPTED
from homolog.cli.progress_bar import progress_bar
from homolog.core.errors import ConfigError, did_you_mean
from homolog.zoo.build import build, resolved
from homolog.zoo.compose import compose, configs_folder

PREVIEW, SHOWN = "preview.png", 6
"""The picture of the first samples, and how many it shows unless --count says less."""

LAYOUTS = {"spair": "semantic", "tapvid": "video"}
"""Layouts of others, and the kind that each of them is for."""

GOES_ON = "; the same command goes on from the shards that are finished"

PLACES = ("photos", "root", "scenes")
"""Settings that name folders."""


@runtime_checkable
class _Written(Protocol):
    samples: int
    kept: int
    shards: int
    size: int


def run(arguments: argparse.Namespace) -> int:
    """Make what the command line asks for.

    Args:
        arguments: as `homolog.cli.main` parses them.

    Returns:
        The exit code.

    Raises:
        HomologError: wrong settings, no photos, or a folder that cannot be used; nothing half-made is left.
    """
    config = _composed(arguments)
    out = arguments.out or Path("data") / f"synthetic_{arguments.kind}"
    if arguments.kind != LAYOUTS.get(arguments.layout, arguments.kind):
        raise ConfigError(
            f"the layout {arguments.layout} is for {LAYOUTS[arguments.layout]}, got {arguments.kind}; leave --as out"
        )
    try:
        if arguments.preview:
            return _preview(config, arguments, out)
        if arguments.layout == "spair":
            return _write_spair(config, out)
        if arguments.layout == "tapvid":
            return _write_tapvid(config, out)
        return _write_shards(config, arguments, out)
    except KeyboardInterrupt:
        goes_on = arguments.layout == "shards" and not arguments.preview
        say(f"homolog: interrupted{GOES_ON if goes_on else ''}")
        return INTERRUPTED


def _composed(arguments: argparse.Namespace) -> dict[str, Any]:
    folder = configs_folder(arguments.configs)
    kinds = sorted(file.stem for file in (folder / "source").glob("*.yaml"))
    if arguments.kind not in kinds:
        raise ConfigError(
            f"nothing to generate is named {arguments.kind!r}{did_you_mean(arguments.kind, kinds)}"
        )
    words = (f"source@_global_={arguments.kind}", *arguments.settings)
    config = compose("generate", words, configs=arguments.configs)
    for name in ("count", "size", "seed", "split"):
        if getattr(arguments, name) is not None:
            config[name] = getattr(arguments, name)
    if arguments.photos is not None:
        if "photos" not in config:
            raise ConfigError(f"{arguments.kind} takes no photos; leave --photos out")
        config["photos"] = str(arguments.photos)
    config = resolved(config)
    # Whole paths, so that the shards can be verified from another folder.
    places = {name: Path(config[name]) for name in PLACES if isinstance(config.get(name), str)}
    return {**config, **{name: str(path.expanduser().resolve()) for name, path in places.items()}}


def _write_shards(config: dict[str, Any], arguments: argparse.Namespace, out: Path) -> int:
    write = build({"_target_": "homolog.synthetic.shards.writing.write_shards", "_partial_": True})
    begin = time.perf_counter()
    with loading(), progress_bar(arguments.kind, config.get("count")) as progress:
        written: _Written = write(
            partial(build, config),
            folder=out,
            config=config,
            per_shard=arguments.per_shard,
            pictures=arguments.pictures,
            workers=arguments.workers,
            force=arguments.force,
            progress=progress,
        )
    seconds = time.perf_counter() - begin
    console = Console(highlight=False, markup=False, soft_wrap=True)
    total = written.samples + written.kept
    kept = f", {written.kept:,} of them from earlier runs" if written.kept else ""
    console.print(f"{total:,} samples{kept}, in {written.shards:,} shards in {out}")
    rate = f", {written.samples / seconds:.1f} samples/s" if written.samples else ""
    console.print(f"{_bytes(written.size)}, {_bytes(written.size / total)} a sample; {seconds:.1f} s{rate}")
    say(f"homolog data verify {out} checks them")
    return FINE


def _write_spair(config: dict[str, Any], out: Path) -> int:
    write = build({"_target_": "homolog.synthetic.spair_writing.write_spair", "_partial_": True})
    with loading(), progress_bar("semantic", config.get("count")) as progress:
        pairs = write(build(config), out, split=config["split"], progress=progress)
    print(f"{pairs:,} pairs in SPair-71k's layout in {out}")
    return FINE


def _write_tapvid(config: dict[str, Any], out: Path) -> int:
    write = build({"_target_": "homolog.synthetic.tapvid_writing.write_tapvid", "_partial_": True})
    with loading():
        source: Sequence[Any] = build(config)
    with progress_bar("video", len(source)) as progress:
        for index in range(len(source)):
            write(source[index], out / f"{index:06d}.npz")
            progress(index + 1)
    print(f"{len(source):,} videos in TAP-Vid's layout in {out}, a file for each")
    return FINE


def _preview(config: dict[str, Any], arguments: argparse.Namespace, out: Path) -> int:
    config = {**config, "count": min(config.get("count", SHOWN), SHOWN)}
    with loading():
        from homolog.cli.figures.samples import draw_preview
        from homolog.core.atomic import write_bytes

        source: Sequence[Any] = build(config)
    with progress_bar(arguments.kind, len(source)) as progress:
        samples: list[Any] = []
        for index in range(len(source)):
            samples.append(source[index])
            progress(index + 1)
    settings = ", ".join(
        f"{name} {value}" for name, value in config.items() if name != "_target_" and value is not None
    )
    write_bytes(
        out / PREVIEW,
        draw_preview(samples, title=f"{arguments.kind}: samples and their exact truth", subtitle=settings),
    )
    print(f"the picture is {out / PREVIEW}")
    return FINE


def _bytes(size: float | int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
