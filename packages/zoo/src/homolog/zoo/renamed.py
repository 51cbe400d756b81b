"""What had another name before: an error names the new one, on the command line and in YAML.

To record a rename, add a line to one of the tables.
"""

from collections.abc import Container

SETTINGS: dict[str, tuple[str, ...]] = {
    "describe": ("descriptor_map",),
    "limit": ("max_keypoints",),
    "longest": ("resize", "longer_side"),
    "minimum": ("match_threshold",),
    "radius": ("nms_radius",),
    "window": ("nms_radius",),
}
"""Old setting to new ones. The one that the part in question has is meant: `longest` became `resize` in
matchers and `longer_side` in protocols, and a head that still has a `window` keeps it."""

NOTES = {"window": "; a window of 5 is an nms_radius of 2"}
"""What to say about an old setting whose values have changed too."""

TARGETS = {
    "homolog.core.hub.fetch_folder": "homolog.zoo.sources.fetch_folder",
    "homolog.core.weights.fetch": "homolog.zoo.sources.fetch",
    "homolog.core.weights.packaged": "homolog.zoo.sources.packaged",
    "homolog.data.shards": "homolog.synthetic.shards",
    "homolog.data.synthetic": "homolog.synthetic",
}
"""Old `_target_` to new one: a class, a function, or a module with all that is below it."""

CHOICES: dict[str, str] = {}
"""Old `group/name` of a YAML to the new one, such as `"head/old": "head/new"`."""


def setting_renamed(name: str, settings: Container[str]) -> str | None:
    """Return the message that a setting was renamed; None if it was not.

    Args:
        name: of the setting, with the part it belongs to: `detector.limit`.
        settings: those that the part has now.

    >>> setting_renamed("detector.limit", {"max_keypoints", "threshold"})
    'the setting detector.limit is now called detector.max_keypoints'
    >>> setting_renamed("head.window", {"window", "nms_radius"}) is None
    True
    """
    part, dot, old = name.rpartition(".")
    if old in settings:
        return None
    new = next((new for new in SETTINGS.get(old, ()) if new in settings), None)
    return f"the setting {name} is now called {part}{dot}{new}{NOTES.get(old, '')}" if new else None


def new_target(old: str) -> str | None:
    """Return what a `_target_` is called now; None if it was not renamed.

    >>> new_target("homolog.data.synthetic.scenes.Room")
    'homolog.synthetic.scenes.Room'
    """
    known = [name for name in TARGETS if f"{old}.".startswith(f"{name}.")]
    longest = max(known, key=len, default=None)
    return None if longest is None else TARGETS[longest] + old.removeprefix(longest)
