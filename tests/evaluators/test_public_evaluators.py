"""The public names of `homolog.evaluators`, and that they work without torch."""

import json
import pkgutil
import subprocess
import sys

import homolog.evaluators

WITH_TORCH = {"benchmark", "predictors", "read_out"}
"""Modules that run matchers or read feature maps."""


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
