"""Docstrings: all public names have one, and the examples run."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import seqcast
import seqcast.aio
import seqcast.asgi
import seqcast.wsgi

NAMES = [found.name for found in pkgutil.iter_modules(seqcast.__path__) if found.name != "__main__"]
MODULES = [seqcast, *(importlib.import_module(f"seqcast.{name}") for name in NAMES)]


def examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in MODULES:
        for test in finder.find(module, module.__name__, globs={}):
            if test.examples:
                yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", list(examples()))
def test_example(test):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    failures, tried = runner.run(test)
    seqcast._default._bus = None
    assert failures == 0 and tried > 0


def public():
    for module in (seqcast, seqcast.aio, seqcast.asgi, seqcast.wsgi):
        for name in module.__all__:
            item = getattr(module, name)
            if not inspect.isclass(item) and not inspect.isfunction(item) and not inspect.isbuiltin(item):
                continue
            yield f"{module.__name__}.{name}", item
            if inspect.isclass(item):
                for member, value in vars(item).items():
                    is_property = isinstance(value, property) or inspect.isgetsetdescriptor(value)
                    if not member.startswith("_") and (is_property or inspect.isroutine(value)):
                        yield f"{module.__name__}.{name}.{member}", value


def test_everything_public_has_a_docstring():
    missing = [name for name, item in public() if not inspect.getdoc(item)]
    assert missing == []
    assert len(list(public())) > 100
