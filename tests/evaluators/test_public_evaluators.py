"""The public names of `homolog.evaluators`, and that they work without torch."""

import importlib
import json
import pkgutil
import subprocess
import sys

import homolog.evaluators

WITH_TORCH = {"benchmark", "predictors", "read_out"}
"""Modules that run matchers or read feature maps."""


def test_every_public_name_is_found_and_no_module_hides_it() -> None:
    modules = {module.name for module in pkgutil.iter_modules(homolog.evaluators.__path__)}
    # Importing a module binds its name in the package, where it would replace a function of this name.
    assert not modules & set(vars(homolog.evaluators)["__all__"])
    for name in vars(homolog.evaluators)["__all__"]:
        assert getattr(homolog.evaluators, name).__name__ == name
        assert getattr(homolog.evaluators, name) is getattr(
            importlib.import_module(homolog.evaluators.__dict__["_HOMES"][name]), name
        )


def test_metrics_and_protocols_import_without_torch() -> None:
    modules = [module.name for module in pkgutil.iter_modules(homolog.evaluators.__path__)]
    code = f"""
import importlib, json, sys
loaded = {{}}
for name in {sorted(modules, key=lambda name: name in WITH_TORCH)!r}:
    importlib.import_module("homolog.evaluators." + name)
    loaded[name] = "torch" in sys.modules or "cv2" in sys.modules or "poselib" in sys.modules
print(json.dumps(loaded))
"""
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert {name for name, heavy in json.loads(ran.stdout).items() if heavy} == WITH_TORCH
