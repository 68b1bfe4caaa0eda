"""Claims."""

import os
import signal

import pytest

import seqcast
from processes import Child, eventually, in_child


def test_one_of_all_wins(bus, worker, other):
    claim = worker.claim("key", ttl=3600)
    assert claim and claim.won and claim.seat is None and not claim.is_full and 1800 < claim.left <= 3600
    lost = other.claim("key", ttl=3600)
    assert not lost and lost.seat == worker.seat and 1800 < lost.left_to_others <= 3600 and lost.left == 0
    assert not lost.release()
    assert in_child(lambda: bool(worker.claim("key", ttl=3600))) is False
    assert claim.release() and not claim.release()
    assert other.claim(b"key", ttl=3600), "a key is its bytes"


def test_a_claim_ends_with_its_block(worker, other):
    with worker.claim("key", ttl=3600) as claim:
        assert claim and not other.claim("key", ttl=3600)
    with other.claim("key", ttl=3600) as claim:
        assert claim
        with worker.claim("key", ttl=3600) as lost:
            assert not lost
        assert not worker.claim("key", ttl=3600), "the block of one that lost ends nothing"
    with pytest.raises(ZeroDivisionError), worker.claim("key", ttl=3600):
        raise ZeroDivisionError
    assert other.claim("key", ttl=3600)


def test_renew(worker, other):
    claim = worker.claim("key", ttl=30)
    claim.renew()
    claim.renew(3600)
    assert claim.left > 3000
    claim.release()
    with pytest.raises(seqcast.ClaimLostError) as caught:
        claim.renew()
    assert caught.value.code == "claim_lost"
    with other.claim("key", ttl=3600), pytest.raises(seqcast.ClaimLostError, match=f"seat {other.seat}"):
        claim.renew()
    with pytest.raises(seqcast.ClaimLostError, match="not won"):
        (worker.claim("a", ttl=1), other.claim("a", ttl=1))[1].renew()


def test_g7_a_claim_ends_with_its_holder(bus, worker):
    def hold():
        claim = worker.claim("key", ttl=3600, ends_with_holder=True)
        assert claim
        worker.post("s", "claimed")
        signal.pause()

    child = Child(hold)
    worker.only("s")
    eventually(lambda: worker.next(1), "the claim")
    held = worker.held("key")
    assert (held.pid, held.winner, held.ends_with_holder) == (child.pid, "alive", True)
    assert not worker.claim("key", ttl=3600)
    child.kill()
    child.wait()
    assert worker.held("key") is None
    assert worker.claim("key", ttl=3600)


def test_a_completed_claim_outlives_its_holder(bus, worker):
    def complete():
        worker.claim("key", ttl=3600, ends_with_holder=True).complete(3600)
        os.kill(os.getpid(), signal.SIGKILL)

    child = Child(complete)
    child.wait()
    held = worker.held("key")
    assert not held.ends_with_holder and held.left > 3000
    assert not worker.claim("key", ttl=3600)


def test_bad_claims(worker):
    for key, ttl, kind in [
        ("", 1, ValueError),
        (7, 1, TypeError),
        ("key", 0, ValueError),
        ("key", -1, ValueError),
        ("key", float("nan"), ValueError),
        ("key", "1", TypeError),
    ]:
        with pytest.raises(kind):
            worker.claim(key, ttl)
    with pytest.raises(ValueError):
        worker.held("")
    for token in (b"", b"x" * 23, 7):
        with pytest.raises((TypeError, ValueError)):
            worker.release(token)
    assert not worker.release(b"x" * 24)


def test_no_room_for_a_claim():
    with seqcast.Bus.anonymous(claims=8) as bus, seqcast.Publisher(bus) as publisher:
        claims = [publisher.claim(f"key {number}", ttl=3600) for number in range(1000)]
        full = [claim for claim in claims if claim.is_full]
        assert full and not any(full) and all(claim.left == 0 for claim in full)
