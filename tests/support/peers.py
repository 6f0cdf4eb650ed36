"""The packages that presets stand for, imported where they are installed, else skipped."""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
import warnings
from contextlib import contextmanager
from functools import cache

import pytest
import torch


@cache
def _imported(name, find):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other packages deprecate is not tested here
        return find(name)


def module(name, find=importlib.import_module):
    """The module, or a skipped test."""
    try:
        return _imported(name, find)
    except ImportError as error:
        pytest.skip(f"{name} cannot be imported: {error}")


def pml(part):
    return module(f"pytorch_metric_learning.{part}")


def lightly_loss():
    return module("lightly.loss", _without_torchvision)


def open_clip_loss():
    """Its file alone: the package imports torchvision."""
    return module("open_clip", _file_of)


def st(name):
    """A loss of sentence-transformers; its model does nothing."""
    losses = module("sentence_transformers.sentence_transformer.losses")
    return lambda **how: getattr(losses, name)(torch.nn.Identity(), **how)


def _file_of(package):
    found = importlib.util.find_spec(package)
    if found is None:
        raise ImportError(f"no package {package}")
    (folder,) = found.submodule_search_locations
    spec = importlib.util.spec_from_file_location(f"{package}_loss", f"{folder}/loss.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def _without_torchvision(name):
    if importlib.util.find_spec("torchvision") is not None:
        return importlib.import_module(name)
    with _stub("torchvision"):
        return importlib.import_module(name)


@contextmanager
def _stub(package):
    """A package that has every name and submodule, while something that imports it is loaded."""
    finder = _Anything(package)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [m for m in sys.modules if m.split(".")[0] == package]:
            del sys.modules[name]


class _Names(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Anything(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == self.package:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Names(spec.name)

    def exec_module(self, module):
        pass
