import pytest

from drivers.air import Air, speed_of_sound

TABLE = {
    0: (331.448, 331.526, 331.604, 331.681, 331.759),
    5: (334.467, 334.580, 334.693, 334.806, 334.919),
    10: (337.459, 337.620, 337.781, 337.942, 338.103),
    15: (340.423, 340.650, 340.876, 341.102, 341.328),
    20: (343.359, 343.673, 343.987, 344.300, 344.613),
    25: (346.268, 346.697, 347.127, 347.555, 347.984),
    30: (349.148, 349.729, 350.310, 350.890, 351.469),
}
"""Metres per second at 101.325 kPa and 400 ppm CO2, at 0, 25, 50, 75, 100 % humidity, computed
independently."""


@pytest.mark.parametrize("celsius", TABLE)
def test_speed_of_sound_agrees_with_the_table(celsius: int) -> None:
    for humidity, expected in zip((0, 25, 50, 75, 100), TABLE[celsius], strict=True):
        assert speed_of_sound(Air(celsius, humidity, 101_325.0, 400.0)) == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(
    ("change", "hz"),
    [
        (Air(21.0), 3.61),
        (Air(humidity_percent=41.0), 0.073),
        (Air(co2_ppm=1400.0), -0.52),
        (Air(pressure_pa=102_325.0), -0.026),
    ],
)
def test_a_cell_of_2012_hertz_moves_as_published(change: Air, hz: float) -> None:
    moved = 2012.5 * (speed_of_sound(change) / speed_of_sound(Air()) - 1.0)
    assert moved == pytest.approx(hz, abs=0.006)
