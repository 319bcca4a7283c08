"""Time and sound in the test's hand: periods of 10 ms that come on time, late, or never."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.intake import CONFIRM_S, LIMIT_S, Intake, Piece

RATE = 48_000
PERIOD = 480


class Device:
    """A device whose sample values are the frame numbers of the world outside, which go on whatever
    happens."""

    def __init__(self, ppm: float = 0.0) -> None:
        self.intake = Intake(RATE, 1, 0)
        self.now_ns = 0
        self.world = 0
        self._period_ns = round(1e7 / (1 + ppm * 1e-6))
        self.pieces: list[Piece] = []

    def deliver(self, periods: int = 1) -> None:
        """Periods that come on time."""
        for _ in range(periods):
            self.now_ns += self._period_ns
            self.read(1)
            self.drained()

    def read(self, periods: int) -> None:
        """Periods that are there, read at this moment."""
        for _ in range(periods):
            self.intake.took(np.arange(self.world, self.world + PERIOD, dtype=np.float32)[:, None])
            self.world += PERIOD

    def drained(self) -> None:
        self.intake.drained(self.now_ns)
        while piece := self.intake.take(PERIOD * 2):
            self.pieces.append(piece)

    def lose(self, periods: int) -> None:
        """Periods that pass without being kept anywhere."""
        self.now_ns += periods * self._period_ns
        self.world += periods * PERIOD

    def check(self, tolerance: int = 0) -> int:
        """Every piece lies where it belongs; returns the frames lost."""
        out = 0
        for piece in self.pieces:
            assert piece.lost >= 0
            assert piece.frame == out + piece.lost
            assert len(piece.samples) <= PERIOD * 2
            if len(piece.samples):
                world = int(piece.samples[0, 0])
                assert np.array_equal(
                    piece.samples[:, 0], np.arange(world, world + len(piece.samples), dtype=np.float32)
                )
                assert abs(piece.frame - world) <= tolerance
            out = piece.frame + len(piece.samples)
        lost = sum(piece.lost for piece in self.pieces)
        assert lost == self.intake.lost_frames_total
        return lost


@pytest.mark.parametrize("ppm", [0.0, 300.0, -300.0, 2000.0, -2000.0])
def test_a_clock_that_differs_loses_nothing(ppm: float) -> None:
    device = Device(ppm)
    device.deliver(6000)
    assert device.check() == 0
    assert device.intake.overruns == 0


def test_pieces_wait_until_they_are_whole() -> None:
    intake = Intake(RATE, 2, 0)
    intake.took(np.zeros((300, 2), np.float32))
    intake.drained(6_250_000)
    assert intake.take(480) is None
    intake.took(np.ones((300, 2), np.float32))
    intake.drained(12_500_000)
    piece = intake.take(480)
    assert piece is not None
    assert (piece.frame, piece.lost, piece.samples.shape) == (0, 0, (480, 2))
    assert piece.samples[:300].max() == 0
    assert piece.samples[300:].min() == 1
    assert intake.take(480) is None


@pytest.mark.parametrize("late", [5, 20, 45])
def test_late_frames_are_waited_for(late: int) -> None:
    device = Device()
    device.deliver(100)
    for _ in range(late):
        device.now_ns += 10_000_000
    device.read(1)
    device.drained()
    held = sum(len(piece.samples) for piece in device.pieces)
    device.read(late - 1)
    device.drained()
    device.deliver(100)
    assert device.check() == 0
    assert held <= 101 * PERIOD
    assert device.intake.overruns == 0


@pytest.mark.parametrize("lost", [5, 20, 99, 500])
def test_silent_losses_are_found_by_the_clock(lost: int) -> None:
    device = Device()
    device.deliver(100)
    device.lose(lost)
    device.deliver(200)
    found = device.check(tolerance=0)
    held = round(CONFIRM_S * 100) + 1
    assert lost * PERIOD <= found <= (lost + held) * PERIOD
    assert device.intake.overruns == 1
    assert device.pieces[-1].frame > 200 * PERIOD


def test_what_was_read_around_a_silent_loss_is_dropped() -> None:
    device = Device()
    device.deliver(100)
    device.now_ns += 330_000_000
    device.read(30)
    device.lose(50)
    device.read(3)
    device.drained()
    device.deliver(100)
    device.check()
    kept = np.concatenate([piece.samples[:, 0] for piece in device.pieces])
    assert not ((kept >= 100 * PERIOD) & (kept < 183 * PERIOD)).any()


def test_an_overrun_is_believed_at_once() -> None:
    device = Device()
    device.deliver(100)
    device.read(20)
    device.now_ns += 500_000_000
    device.world += 30 * PERIOD
    device.intake.overran(device.now_ns)
    device.deliver(10)
    assert device.check() == 30 * PERIOD
    assert device.intake.overruns == 1


def test_an_overrun_loses_something_even_if_the_clock_denies_it() -> None:
    device = Device()
    device.deliver(100)
    device.intake.overran(device.now_ns)
    device.deliver(10)
    assert device.check(tolerance=1) == 1


def test_silence_moves_time_on() -> None:
    device = Device()
    device.deliver(99)
    for _ in range(3):
        device.lose(100)
        device.intake.silent(device.now_ns)
        while piece := device.intake.take(PERIOD * 2):
            device.pieces.append(piece)
    empty = [piece for piece in device.pieces if not len(piece.samples)]
    assert [(piece.frame, piece.lost) for piece in empty] == [(k * RATE - PERIOD, RATE) for k in (2, 3, 4)]
    device.deliver(100)
    assert device.check() == 3 * RATE
    assert device.intake.overruns == 0


def test_silence_from_the_beginning() -> None:
    device = Device()
    device.intake.drained(0)
    device.now_ns += 1_000_000_000
    device.intake.silent(device.now_ns)
    piece = device.intake.take(PERIOD)
    assert piece is not None
    assert (piece.frame, piece.lost, len(piece.samples)) == (RATE, RATE, 0)


@pytest.mark.parametrize("first", [100, 1, 3])
def test_frames_that_come_after_they_were_given_up_are_dropped(first: int) -> None:
    device = Device()
    device.deliver(100)
    device.now_ns += 1_000_000_000
    device.intake.silent(device.now_ns)
    while piece := device.intake.take(PERIOD * 2):
        device.pieces.append(piece)
    device.read(first)
    device.drained()
    device.now_ns += 1_000_000
    device.read(100 - first)
    device.drained()
    device.now_ns -= 1_000_000
    device.deliver(100)
    assert device.check(tolerance=48) == RATE
    assert device.pieces[-1].frame + len(device.pieces[-1].samples) == 300 * PERIOD


def test_a_slow_reader_costs_memory_only_to_the_limit() -> None:
    intake = Intake(RATE, 1, 0)
    for k in range(1000):
        intake.took(np.full((PERIOD, 1), k, np.float32))
        intake.drained((k + 1) * 10_000_000)
    kept = 0
    pieces = []
    while piece := intake.take(PERIOD):
        pieces.append(piece)
        kept += len(piece.samples)
    assert kept == LIMIT_S * RATE
    assert intake.overruns == 1
    intake.took(np.full((PERIOD, 1), 1000, np.float32))
    intake.drained(1001 * 10_000_000)
    last = intake.take(PERIOD)
    assert last is not None
    assert (last.frame, last.lost) == (1000 * PERIOD, 800 * PERIOD)
    assert intake.lost_frames_total == 800 * PERIOD


def test_a_full_store_is_one_overrun_whatever_the_size_of_the_reads() -> None:
    intake = Intake(RATE, 1, 0)
    for k in range(2000):
        intake.took(np.zeros((1200 if k % 3 else 7, 1), np.float32))
        intake.drained(k * 10_000_000)
    assert intake.overruns == 1


def test_a_backlog_at_the_start_is_no_loss_and_dates_its_frames_back() -> None:
    device = Device()
    device.intake.drained(0)
    device.read(70)
    device.drained()
    device.deliver(300)
    assert device.check() == 0
    assert device.intake.monotonic_ns_of(70 * PERIOD) == 0
    assert device.intake.monotonic_ns_of(0) == -700_000_000


def test_a_slow_start_is_no_loss() -> None:
    device = Device()
    device.intake.drained(0)
    device.now_ns += 400_000_000
    device.deliver(300)
    assert device.check() == 0


@settings(max_examples=200)
@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.just("deliver"), st.integers(1, 150)),
            st.tuples(st.just("late"), st.integers(1, 40)),
            st.tuples(st.just("lose"), st.integers(5, 300)),
            st.tuples(st.just("overrun"), st.integers(1, 80)),
        ),
        max_size=12,
    )
)
def test_whatever_happens_frames_are_where_they_belong(events: list[tuple[str, int]]) -> None:
    device = Device()
    device.deliver(100)
    gone = 0
    for what, periods in events:
        if what == "deliver":
            device.deliver(periods)
        elif what == "late":
            device.now_ns += periods * 10_000_000
            device.read(periods)
            device.drained()
        elif what == "lose":
            device.lose(periods)
            gone += periods * PERIOD
            device.deliver(120)
        else:
            device.lose(periods)
            gone += periods * PERIOD
            device.intake.overran(device.now_ns)
            device.deliver(120)
    device.deliver(100)
    lost = device.check(tolerance=0)
    assert lost >= gone
