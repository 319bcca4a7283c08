"""A record of baseband phasors becomes one phasor per microphone, with the noise beside it.

A sub-block of a record is a + images a* + the tones that interfere + noise, now and then with a knock on top. The
phasor is the weighted least-squares solution with the knocks cut out and the tones fitted beside the carrier: h z, with
a row h that gives a constant 1 and a tone nothing. A slope is fitted too, so that gas that comes within the record is
no noise. The image is linear in a*, so it is undone exactly afterwards. Where nothing interferes h is the plain mean,
which is efficient.

What interferes is found by matching pursuit (Mallat and Zhang, IEEE Trans. Signal Process. 41 (1993) 3397; for tones
alone: CLEAN, Hoegbom, Astron. Astrophys. Suppl. 15 (1974) 417): of the loudest sub-block and the loudest line of the
spectrum the one that stands higher over its floor goes first, if it stands there by chance in less than FALSE_ALARM of
the records. Both tests are one (`_heights`): for Gaussian noise x of covariance S in C microphones x^H S^-1 x has a
Gamma(C) distribution, whatever the microphones have in common; S and the floor come from the undisturbed majority.
Where a line stands beside one that was fitted already, that one gets one more coefficient, a polynomial in time for an
amplitude: this corrects its frequency, follows a tone that wanders, and covers lines too close to be told apart, as
the far harmonics of hum are, that alias into one or two narrow clusters. All fits are linear.

The noise is seen in a window of bins beside the carrier, made orthogonal to all that was fitted and to itself, on the
sub-blocks that were kept: each of these snapshots has the variance of white noise, and times |h| that of the phasor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.special

from gateway.dsp.demodulator import Phasors

Reals = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIRST_BIN, LAST_BIN = 2, 9
FALSE_ALARM = 2e-4
"""In how many clean records a tone, or a knock, may be seen."""
WAVES = 30
"""Coefficients of the tones that are taken out, at most."""
WAVED = 240_000
"""Coefficients times sub-blocks, at most, so that a record of ten minutes holds nobody up: in a long one a tone that is
left leaks little."""
TAPER = 0.05
"""Part of the record in the flanks of a Tukey window: what is left of a tone leaks less."""
LEFT_OF_TONES = 2.0
"""Beside tones a knock has to stand so many times higher: what the fit leaves of them is not quite Gaussian."""
ROUNDING = 1e-6
"""Float32 sound gives lines and steps of this part of the carrier: they are no tones and no knocks."""
SILENT = 1e-8
"""Part of the other microphone's noise power that is none: the rounding of a microphone that is stuck."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """What a record of one or two microphones says.

    `phasors` complex128 [microphones], peak amplitude, full scale; `noise` complex128 [snapshots, microphones]:
    samples of the phasors' own noise, E|n|^2 / 2 the variance of the real or imaginary part. `masked`: the part of the
    record that was cut out for knocks; `tones`: how many interfering tones were taken out, aliases and images counted;
    `estimated` [microphones]: restored from clipped sound.
    """

    phasors: Phasors
    noise: Phasors
    masked: float
    tones: int
    estimated: Bools


def reduce(z: Phasors, images: Phasors, clipped: Reals, known: tuple[float, ...] = ()) -> Reduced:
    """`z` complex128 [sub-blocks, microphones], at least 6 sub-blocks, of which a tone A gives A + images A* ;
    `images` complex128 [sub-blocks]; `clipped` float64 like `z`, the part of the samples at full scale. `known` are
    tones that are there by right, other lasers', and their images, in turns per sub-block: they are fitted and not
    counted. Those too near the carrier to be told from it are left.

    Clipped sub-blocks are cut out where every microphone has some and they are the minority. Where clipped sound is
    used, what is heard of a weak tone is the part of the time that is not clipped, E g'(x) of the clipper g (Bussgang,
    MIT RLE Technical Report 216, 1952): the phasor is divided by it.
    """
    estimated, usable = _clipping(clipped)
    heard = ~estimated if estimated.any() and not estimated.all() else slice(None)
    known = tuple(turns for turns in known if abs(turns) * len(z) >= FIRST_BIN)
    fit = _plain(len(z), known)
    phasors, residual = fit.apart(z, images)
    masked, tones = 0.0, 0
    if usable is not None or _disturbed(residual[:, heard], ROUNDING * float(np.abs(phasors).max())):
        whole = np.ones(len(z), bool) if usable is None else usable
        fit, masked, tones = _pursued(z, images, whole, heard, _lasers(known))
        phasors, residual = fit.apart(z, images)
    noise = fit.noise(residual)
    if estimated.any():
        part = np.maximum(1.0 - (fit.weights @ clipped) / fit.weights.sum(), 0.05)
        phasors, noise = phasors / part, noise / part
    return Reduced(phasors, noise, masked, tones, estimated)


def _clipping(clipped: Reals) -> tuple[Bools, Bools | None]:
    """Which microphones were clipped; which sub-blocks are whole, where all were, but rarely."""
    estimated = np.asarray(clipped.any(axis=0))
    if not estimated.all():
        return estimated, None
    whole = np.asarray(~clipped.any(axis=1))
    return estimated, whole if 2 * np.count_nonzero(whole) > len(whole) else None


@dataclass(frozen=True, slots=True)
class _Waves:
    """Tones at `turns` per sub-block, each with an amplitude that is a polynomial of `orders` coefficients in time."""

    turns: tuple[float, ...] = ()
    orders: tuple[int, ...] = ()

    @property
    def total(self) -> int:
        """How many coefficients there are."""
        return sum(self.orders)

    def more(self, turns: float, near: float) -> _Waves:
        """With one more tone at `turns`, or one more coefficient of the tone that is as `near`."""
        away = [abs((turns - old + 0.5) % 1.0 - 0.5) for old in self.turns]
        if not away or min(away) > near:
            return _Waves((*self.turns, turns), (*self.orders, 1))
        nearest = away.index(min(away))
        return _Waves(self.turns, tuple(order + (at == nearest) for at, order in enumerate(self.orders)))

    def basis(self, time: Reals) -> Phasors:
        """Complex128 [sub-blocks, coefficients] of a constant, a slope, and the tones."""
        columns: list[Phasors] = [np.ones(len(time), np.complex128), np.asarray(time * (2.0 / len(time)) + 0j)]
        for turns, order in zip(self.turns, self.orders, strict=True):
            columns.append(np.exp(2j * np.pi * turns * time))
            columns += [columns[-1] * columns[1] ** power for power in range(1, order)]
        return np.stack(columns, axis=1)


class _Fit:
    """The least-squares fit of a constant, a slope and tones."""

    def __init__(self, weights: Reals, waves: _Waves) -> None:
        """`weights` [sub-blocks], 0 where nothing counts."""
        count = len(weights)
        self.weights = weights
        self.time: Reals = np.arange(count, dtype=float) - (count - 1) / 2.0
        self.basis = waves.basis(self.time)
        weighted = (self.basis * weights[:, None]).conj().T
        self.solve = np.linalg.pinv(weighted @ self.basis, rcond=1e-9, hermitian=True) @ weighted
        self.row = self.solve[0]
        self._snapshots: Phasors | None = None

    def apart(self, z: Phasors, images: Phasors) -> tuple[Phasors, Phasors]:
        """The phasors [microphones] and what is left of `z` without them, their images and the tones."""
        epsilon = complex(self.row @ images)
        found = self.row @ z
        value = (found - epsilon * found.conj()) / (1.0 - abs(epsilon) ** 2)
        real = z - images[:, None] * value.conj()
        return value, real - self.basis @ (self.solve @ real)

    def noise(self, residual: Phasors) -> Phasors:
        """Snapshots [snapshots, microphones] of the phasors' noise."""
        if self._snapshots is None:
            self._snapshots = self._beside()
        return self._snapshots @ residual

    def _beside(self) -> Phasors:
        """Rows that give snapshots. A bin that lies mostly in what was fitted is left out."""
        count, kept = len(self.weights), self.weights > 0.0
        bins = np.arange(FIRST_BIN, min(LAST_BIN, (count - 1) // 2) + 1)
        bins = np.column_stack((bins, -bins)).ravel()
        window = np.exp(2j * np.pi / count * np.outer(self.time, bins)) / math.sqrt(np.count_nonzero(kept))
        q, r = np.linalg.qr(np.where(kept[:, None], np.column_stack((self.basis, window)), 0.0))
        fitted = self.basis.shape[1]
        fresh = np.abs(np.diag(r))[fitted:] ** 2
        use = fresh > min(0.5, float(fresh.max()))
        use = use if use.any() else fresh >= fresh.max()
        rows: Phasors = np.ascontiguousarray(q[:, fitted:][:, use].conj().T)
        return rows * np.float64(np.linalg.norm(self.row))


def _lasers(known: tuple[float, ...]) -> _Waves:
    """The tones that are known."""
    return _Waves(known, (1,) * len(known))


@lru_cache(maxsize=16)
def _plain(count: int, known: tuple[float, ...]) -> _Fit:
    """The fit where nothing interferes."""
    return _Fit(np.ones(count), _lasers(known))


def _disturbed(residual: Phasors, least: float) -> bool:
    """Whether anything stands out of a record."""
    if float(_heights(residual, least).max()) > _chance(*residual.shape)[1]:
        return True
    return bool(_tops(_lines(residual), least * math.sqrt(len(residual)), True))


def _tops(lines: Phasors, least: float, first: bool) -> list[tuple[float, int]]:
    """The lines of `lines` [bins, microphones] that stand over chance, as how high and where: the highest, and with it
    those that are hardly lower and well apart.

    The `first` has to stand over the median of the bins around it, so that noise with a colour is no tone. Where there
    is one already, what remains is removed down to a level that chance reaches in one record of ten.
    """
    heights = _heights(lines, least)
    at = int(heights.argmax())
    limit = _chance(*lines.shape)[1 if first else 2]
    if heights[at] <= limit:
        return []
    near = max(12, len(lines) // 8)
    if first and heights[at] <= limit * _median(heights[max(0, at - near) : at + near + 1]) / _median(heights):
        return []
    apart: list[tuple[float, int]] = []
    for index in sorted(np.flatnonzero(heights > max(limit, 0.25 * heights[at])).tolist(), key=lambda i: -heights[i]):
        if all(abs(index - other) > 3 for _, other in apart):
            apart.append((float(heights[index]), index))
    return apart


def _lines(residual: Phasors) -> Phasors:
    """The spectrum outside two bins either side of the carrier, scaled like one sub-block's noise."""
    spectrum = scipy.fft.fft(residual, axis=0)[FIRST_BIN + 1 : len(residual) - FIRST_BIN]
    return np.asarray(spectrum / math.sqrt(len(residual)))


@lru_cache(maxsize=16)
def _chance(count: int, microphones: int) -> tuple[float, float, float, float]:
    """Of Gamma(microphones): its median; when the scale comes from the median of `count` values, an F distribution, the
    heights that the highest of them reaches in FALSE_ALARM of the cases, that 0.1 of them reach, and a fifth of them.

    The median of n values scatters like the mean of 4 n f^2 m^2 exponential ones, f the density at the median m; the
    covariance of two microphones costs three more.
    """
    median = float(scipy.special.gammaincinv(microphones, 0.5))
    density = median ** (microphones - 1) * math.exp(-median) / math.gamma(microphones)
    worth = max(1.0, 4.0 * count * (density * median) ** 2 - 3.0 * (microphones - 1))
    heights = [
        microphones * float(scipy.special.fdtri(2 * microphones, 2.0 * worth, 1.0 - chance))
        for chance in (FALSE_ALARM / count, 0.1 / count, 0.2)
    ]
    return median, heights[0], heights[1], heights[2]


def _power(x: Phasors) -> Reals:
    """Squared lengths of the rows of `x`."""
    flat = np.ascontiguousarray(x).view(np.float64)
    return np.asarray(np.einsum("ij,ij->i", flat, flat))


def _median(values: Reals) -> float:
    """The middle one, or the upper of the two."""
    middle = len(values) // 2
    return float(np.partition(values, middle)[middle])


def _whitener(x: Phasors) -> Phasors:
    """The matrix that turns `x` [n, microphones] to independent columns of about unit power, as the undisturbed
    majority has it. A silent microphone, or one that says what the other says, is left out.
    """
    scales = _scales(x)
    loud = [index for index, scale in enumerate(scales) if scale > SILENT * max(scales)]
    turn = np.zeros((len(scales), len(loud)), complex)
    turn[loud, range(len(loud))] = [1.0 / math.sqrt(scales[index]) for index in loud]
    if len(loud) < 2:
        return turn
    y = x @ turn
    power = _power(y)
    usual = y[power <= 6.0 * _median(power)]
    covariance = usual.conj().T @ usual / len(usual)
    a, b, ab = float(covariance[0, 0].real), float(covariance[1, 1].real), complex(covariance[0, 1])
    rest = b - abs(ab) ** 2 / a
    if rest < 1e-9 * b:
        return turn[:, :1]
    apart: Phasors = np.array([[1.0 / math.sqrt(a), -ab / a / math.sqrt(rest)], [0.0, 1.0 / math.sqrt(rest)]])
    return np.asarray(turn @ apart)


def _scales(x: Phasors) -> list[float]:
    """The median power of each column."""
    power = x.real**2 + x.imag**2
    middle = len(x) // 2
    scales: list[float] = np.partition(power, middle, axis=0)[middle].tolist()
    return scales


def _heights(x: Phasors, least: float) -> Reals:
    """How high each row of `x` stands, in units in which noise has a Gamma distribution; 0 if none is above `least`."""
    y = x @ _whitener(x)
    if not y.shape[1]:
        return np.zeros(len(x))
    power = _power(y)
    power *= _chance(len(x), y.shape[1])[0] / _median(power)
    if float(np.abs(x).max()) <= least:
        power[:] = 0.0
    return power


def _pursued(
    z: Phasors, images: Phasors, usable: Bools, heard: Bools | slice, lasers: _Waves
) -> tuple[_Fit, float, int]:
    """The fit with knocks cut out of the `usable` sub-blocks and tones beside it, as the `heard` microphones say; which
    part was cut out, and how many tones there are beside the `lasers`. Knocks that do not stand over chance in the end,
    with nothing cut out, were none.
    """
    count = len(z)
    kept, waves, least = usable, lasers, 0.0
    limits = _chance(count, z[:, heard].shape[1])
    fit = _Fit(usable.astype(float), waves)
    most = max(2, min(WAVES, WAVED // count))
    for _ in range(2 * most):
        phasors, residual = fit.apart(z[:, heard], images)
        least = ROUNDING * float(np.abs(phasors).max())
        heights = _heights(residual, least)
        left = residual * kept[:, None]
        first = waves is lasers
        tops = _tops(_lines(left), least * math.sqrt(count), first) if waves.total < most else []
        quiet = usable & ~_knocked(heights, limits, first)
        if 4 * np.count_nonzero(quiet) < count:
            quiet = usable
        if tops and tops[0][0] > heights[kept].max():
            for _, index in tops:
                waves = waves.more(_peak(left, index + FIRST_BIN + 1), 1.5 / count)
        elif np.array_equal(quiet, kept):
            break
        else:
            kept = quiet
        fit = _Fit(kept.astype(float), waves)
    if not np.array_equal(kept, usable):
        residual = _Fit(usable.astype(np.float64), waves).apart(z[:, heard], images)[1]
        sure = limits[1] * (1.0 if waves is lasers else LEFT_OF_TONES)
        kept = kept if _heights(residual, least).max() > sure else usable
    fit = _Fit(kept * (np.ones(count) if waves is lasers else _tukey(count)), waves)
    tones = len(waves.turns) - len(lasers.turns) + (waves.orders[: len(lasers.orders)] != lasers.orders)
    return fit, float(np.count_nonzero(usable & ~kept)) / count, tones


def _knocked(heights: Reals, limits: tuple[float, float, float, float], first: bool) -> Bools:
    """Which sub-blocks knocks disturb: if any stands over chance, all the loud ones, and after them those that still
    ring. The `first` search asks for more, as that for tones does: tones that are left hide knocks, and knocks tones.
    """
    knocked: Bools = heights > (limits[2] if heights.max() > limits[1 if first else 2] else math.inf)
    rings = heights > limits[3]
    more = knocked
    while more.any():
        more = rings & ~knocked & np.roll(knocked, 1)
        more[0] = False
        knocked = knocked | more
    return knocked


def _peak(residual: Phasors, line: int) -> float:
    """The frequency of the line at bin `line`, in turns per sub-block: the top of a parabola through log power."""
    count = len(residual)
    turns = (line + np.linspace(-0.75, 0.75, 7)) / count
    waves = np.exp(-2j * np.pi * np.outer(turns, np.arange(count)))
    power = np.log(_power(waves @ residual @ _whitener(residual)) + 1e-300)
    at = min(max(int(power.argmax()), 1), 5)
    below, top, above = power[at - 1 : at + 2]
    bend = 2.0 * top - below - above
    off = 0.5 * (above - below) / bend if bend > 0.0 else 0.0
    return float((turns[at] + 0.25 / count * np.clip(off, -1.0, 1.0) + 0.5) % 1.0 - 0.5)


def _tukey(count: int) -> Reals:
    """Tukey's window, its flanks TAPER of the whole (Harris, Proc. IEEE 66 (1978) 51, equation 38)."""
    edge = np.minimum(np.arange(count) + 0.5, count - 0.5 - np.arange(count)) / (TAPER / 2.0 * count)
    return np.asarray(0.5 - 0.5 * np.cos(np.pi * np.minimum(edge, 1.0)))
