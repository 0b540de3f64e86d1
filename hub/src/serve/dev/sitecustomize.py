"""Adds Mooring's development authority to certifi, for clients that trust nothing else.

Python runs this at its start because `mooring-hub dev -- COMMAND` put its folder on PYTHONPATH. Any other sitecustomize
on the path runs as well.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))
_BUNDLE = os.environ.get("MOORING_CA_BUNDLE")


def _change(module):
    module.where = lambda: _BUNDLE
    module.contents = lambda: open(_BUNDLE, encoding="ascii").read()


class _CertifiFinder(importlib.abc.MetaPathFinder):
    """Finds certifi as Python would, and changes what it answers once it is loaded."""

    def find_spec(self, name, path=None, target=None):
        if name != "certifi":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        load = spec.loader.exec_module

        def load_and_change(module):
            load(module)
            _change(module)

        spec.loader.exec_module = load_and_change
        return spec


def _run_the_next_sitecustomize():
    rest = [entry for entry in sys.path if os.path.abspath(entry or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if _BUNDLE and os.path.exists(_BUNDLE):
    if "certifi" in sys.modules:  # A .pth file may have loaded it before us.
        _change(sys.modules["certifi"])
    else:
        sys.meta_path.insert(0, _CertifiFinder())
_run_the_next_sitecustomize()
