"""The installed files."""

import importlib.metadata
import pathlib
import re

import pytest

import seqcast

ROOT = pathlib.Path(__file__).resolve().parents[3]


def version_in(manifest, section):
    text = (ROOT / manifest).read_text()
    return re.search(rf"^\[{re.escape(section)}\]\n(?:[^\[].*\n)*?version = \"(.*)\"", text, re.MULTILINE)[1]


def test_all_versions_are_one():
    version = version_in("Cargo.toml", "workspace.package")
    assert version_in("crates/seqcast-py/Cargo.toml", "package") == version
    assert seqcast.__version__ == importlib.metadata.version("seqcast") == version


def test_it_needs_no_other_package_and_is_typed():
    assert importlib.metadata.requires("seqcast") is None
    folder = pathlib.Path(seqcast.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_seqcast.pyi").exists()
    # One module for all versions of Python.
    assert [path.name for path in folder.glob("*.so")] == ["_seqcast.abi3.so"]


def test_the_two_commands_are_marked():
    readme = (ROOT / "crates/seqcast-py/README.md").read_text()
    commands = dict(re.findall(r"<!-- command: (\w+) -->\n```sh\n(.*)\n```", readme))
    assert set(commands) == {"main", "test"}
    for command in commands.values():
        assert (ROOT / command).stat().st_mode & 0o111


def test_the_examples_of_the_readme_are_python():
    for page in ("README.md", "docs/recipes.md"):
        text = (ROOT / "crates/seqcast-py" / page).read_text()
        blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
        assert blocks
        for block in blocks:
            # Code with `await` outside a function only serves the reader.
            source = "\n".join("    " + line for line in block.splitlines())
            compile(f"async def block():\n{source}\n", page, "exec")


@pytest.mark.parametrize("name", ["Bus", "Worker", "run_once", "shared_cache", "JSON", "Inspector"])
def test_public_names(name):
    assert name in seqcast.__all__ and hasattr(seqcast, name)
