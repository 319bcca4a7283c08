"""How much of a worker is heard; its life is in tests/real/test_scripts.py."""

from __future__ import annotations

from gateway.scripts.process import Sip

SECOND = 1_000_000_000


def test_a_flood_is_heard_at_a_steady_rate() -> None:
    sip = Sip()
    now_ns, heard = SECOND, 0
    while now_ns < 61 * SECOND:
        heard += 16_384
        now_ns += round(sip.pause_s(now_ns, 16_384, 2000) * 1e9) or 1
    per_s = heard / 60
    assert 0.9 < per_s / (16_384 / (16_384 / 64 + 2000) * Sip.PER_S) < 1.1


def test_ordinary_talk_is_never_held() -> None:
    sip = Sip()
    assert not any(sip.pause_s((1 + n) * SECOND // 50, 300, 2) for n in range(1000))
