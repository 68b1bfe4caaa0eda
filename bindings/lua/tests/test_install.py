"""The installations by `make install` and by `luarocks make` work."""

import subprocess

import pytest

from nginx import HERE, LUA_PATH

pytestmark = pytest.mark.differs


def expect_works(nginx, lua, lib):
    """All files are in the folder `lua`, the library is in `lib`, and nginx finds them there."""
    assert (lib / "libseqcast.so").exists()
    for source in (HERE.parent / "lib").rglob("*.lua"):
        assert (lua / source.relative_to(HERE.parent / "lib")).exists()
    ng = nginx(package_path=f"{lua}/?.lua;{LUA_PATH}", http=f'lua_package_cpath "{lib}/?.so;;";')
    worker, = ng.workers()
    worker.run("ev.post('s', 'e', 1)")
    assert worker.polled() == [("s", "e", 1)]


def test_make_install(nginx, tmp_path):
    root = tmp_path / "root"
    subprocess.run(["make", "-s", "-C", HERE.parent, "install", f"DESTDIR={root}", "PREFIX=/usr"], check=True)
    expect_works(nginx, root / "usr/share/lua/5.1", root / "usr/lib/lua/5.1")


def test_luarocks_make(nginx, tmp_path):
    tree = tmp_path / "tree"
    subprocess.run(["luarocks", "--lua-version=5.1", f"--tree={tree}", "make"], cwd=HERE.parent, check=True)
    expect_works(nginx, tree / "share/lua/5.1", tree / "lib/lua/5.1")


def test_without_the_library_it_is_said_where_it_was_looked_for(nginx, tmp_path):
    lua = tmp_path / "lua"
    subprocess.run(["cp", "-r", HERE.parent / "lib", lua], check=True)
    (lua / "libseqcast.so").unlink()
    ng = nginx(package_path=f"{lua}/?.lua;{LUA_PATH}", init_worker="", server="""
        location = /why {
            content_by_lua_block {
                local _, err = pcall(require, "resty.seqcast")
                ngx.say(err)
            }
        }""")
    text = ng.get("/why")
    assert "libseqcast was not found" in text and f"{lua}/libseqcast.so" in text
