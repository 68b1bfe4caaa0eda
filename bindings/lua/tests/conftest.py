"""Tests of resty.worker.events, against this module or, with --original, against lua-resty-worker-events itself.

A test that is marked `fault` shows a fault of the original: it must pass here and fail there. A test that is marked
`differs` tests an intended difference, and is skipped there.
"""

import os
import pathlib
import signal

import pytest

from nginx import Nginx

HERE = pathlib.Path(__file__).resolve().parent
OURS = HERE.parent / "lib"


def pytest_addoption(parser):
    parser.addoption("--original", metavar="LIB", help="the folder `lib` of a checkout of lua-resty-worker-events")


def pytest_configure(config):
    # The processes that the tests have started end with them.
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", 1))
    config.addinivalue_line("markers", "fault: shows a fault of lua-resty-worker-events, and must fail there")
    config.addinivalue_line("markers", "differs: is otherwise in lua-resty-worker-events")


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--original"):
        return
    for item in items:
        if item.get_closest_marker("differs"):
            item.add_marker(pytest.mark.skip(reason="is otherwise in the original"))
        if item.get_closest_marker("fault"):
            item.add_marker(pytest.mark.xfail(strict=True, reason="a fault of the original"))


@pytest.fixture
def is_original(request):
    return bool(request.config.getoption("--original"))


@pytest.fixture
def lib(request):
    return pathlib.Path(request.config.getoption("--original") or OURS).resolve()


@pytest.fixture
def nginx(tmp_path, lib):
    """Starts nginx with the given settings. After the test it stops every nginx in order. It checks that the logs have
    no alert and no unexpected error, and that nothing is left in /dev/shm."""
    # Workers of another user must reach the sockets.
    for folder in (tmp_path, *tmp_path.parents):
        if os.stat(folder).st_uid == os.getuid() and folder != pathlib.Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    started = []

    def start(**settings):
        folder = tmp_path / f"nginx{len(started)}"
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        server = Nginx(folder, **{"lib": lib, **settings})
        started.append(server)
        return server.start()

    yield start
    try:
        for server in started:
            if server.running():
                server.stop()
    finally:
        for server in started:
            server.kill()
    for server in started:
        assert server.errors() == []
        assert server.segments() == []
