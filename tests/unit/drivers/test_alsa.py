import numpy as np
import pytest

from drivers.alsa import BITS, capture_devices, decode, encode
from drivers.sound import condition
from gateway.types import Flag
from tests.recordings import words

SUBTYPE = {"S16_LE": "PCM_16", "S24_3LE": "PCM_24", "S32_LE": "PCM_32", "FLOAT_LE": "FLOAT"}


@pytest.mark.parametrize("sample_format", BITS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_decodes_to_full_scale(sample_format: str, channels: int) -> None:
    values = np.array([0.0, 0.5, -0.5, 2.0**-15, -(2.0**-15), -1.0, 0.25 + 2.0**-15, -0.75])
    samples = np.repeat(values[:, None], channels, axis=1) * np.array([1.0, 0.5])[:channels]
    out = decode(words(samples, SUBTYPE[sample_format]), sample_format, channels)
    assert out.dtype == np.float32
    expected = np.rint(samples * 2**15) / 2**15 if sample_format == "S16_LE" else samples
    assert np.array_equal(out, expected.astype(np.float32))


@pytest.mark.parametrize("sample_format", BITS)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_encoded_decodes_to_itself(sample_format: str, channels: int) -> None:
    values = np.array([0.0, 0.5, -0.5, 2.0**-15, -(2.0**-15), -1.0, 1.0 - 2.0**-15, 0.25 + 2.0**-15], np.float32)
    samples = np.repeat(values[:, None], channels, axis=1) * np.array([1.0, -0.5], np.float32)[:channels]
    coarse = np.rint(samples * 2**15) / 2**15 if sample_format == "S16_LE" else samples
    assert np.array_equal(decode(encode(samples, sample_format), sample_format, channels), coarse)


@pytest.mark.parametrize("sample_format", ["S16_LE", "S24_3LE", "S32_LE"])
def test_what_is_too_loud_to_encode_is_clipped(sample_format: str) -> None:
    loud = decode(encode(np.array([[1.0], [3.0], [-3.0]], np.float32), sample_format), sample_format, 1)
    assert loud[:, 0].tolist() == pytest.approx([1.0, 1.0, -1.0], abs=2.0**-15)


@pytest.mark.parametrize(
    ("sample_format", "lsb"), [("S24_3LE", 2.0**-23), ("S32_LE", 2.0**-31), ("FLOAT_LE", 2.0**-40)]
)
def test_the_smallest_step_survives(sample_format: str, lsb: float) -> None:
    samples = np.array([[lsb], [-lsb]])
    assert np.array_equal(decode(words(samples, SUBTYPE[sample_format]), sample_format, 1), samples.astype(np.float32))


@pytest.mark.parametrize("sample_format", BITS)
@pytest.mark.parametrize("top", [1.0, -1.0])
def test_full_scale_is_an_overload_in_every_format(sample_format: str, top: float) -> None:
    clipped = decode(words(np.array([[0.0], [top]]), SUBTYPE[sample_format]), sample_format, 1)
    assert condition(clipped)[1] == {Flag.OVERLOAD}
    loud = decode(words(np.array([[0.0], [0.999 * top]]), SUBTYPE[sample_format]), sample_format, 1)
    assert not condition(loud)[1]


def test_samples_that_are_no_numbers_become_silence() -> None:
    samples = np.array([[0.1, np.nan], [np.inf, 0.2], [-np.inf, -0.3]], np.float32)
    out, flags = condition(samples)
    assert flags == {Flag.NOT_FINITE}
    assert np.array_equal(out, np.array([[0.1, 0.0], [0.0, 0.2], [0.0, -0.3]], np.float32))
    assert not out.flags.writeable


def test_an_overload_is_seen_beside_samples_that_are_no_numbers() -> None:
    _, flags = condition(np.array([[1.0, np.nan]], np.float32))
    assert flags == {Flag.NOT_FINITE, Flag.OVERLOAD}


def test_nothing_at_all() -> None:
    out, flags = condition(np.empty((0, 2), np.float32))
    assert out.shape == (0, 2)
    assert not flags


def test_devices_are_listed() -> None:
    assert "null" not in capture_devices()
