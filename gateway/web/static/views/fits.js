// Fits, drawn: a calibration's points with its curve, and a sweep's points with the resonance.

import { airy, chart, colour, marks } from '../charts.js';
import { t } from '../i18n.js';

const FINE = 200;
const dots = (name) => ({ paths: () => null, points: { show: true, size: 9, fill: () => colour(name), stroke: () => colour(name) } });
const line = (name) => ({ stroke: () => colour(name), width: 1.8, points: { show: false }, spanGaps: true });

/** The points of a calibration, and its curve. `set` takes an object of /calibrations. */
export function curve(gas) {
  const made = chart(t('fits.curve'), {
    height: 280, axes: [{ label: gas.unit }, { label: t('fits.signal') }],
    series: [{}, line('accent'), dots('warn')],
    scales: { x: { time: false, range: airy }, y: { range: airy } },
  }, [[], [], []]);
  const set = (found) => {
    const shape = found?.current?.curve;
    const points = (found?.points ?? []).map((point) => [point.ppm, along(point, found.current)]);
    if (!shape || !Number.isFinite(shape.slope)) return made.set(columns([], points));
    const top = Math.max(shape.max_ppm || 0, ...points.map(([ppm]) => ppm), 1);
    const fine = Array.from({ length: FINE + 1 }, (_, index) => (top * index) / FINE);
    const at = (ppm) => (shape.slope * ppm) / (1 + (shape.bend ?? 0) * ppm);
    return made.set(columns(fine.map((ppm) => [ppm, at(ppm)]), points));
  };
  return { ...made, set };
}

/** What of a point lies along the gas's phase, without what is heard without gas. */
function along(point, current) {
  const turn = (-(current?.phase_deg ?? 0) * Math.PI) / 180;
  const re = point.in_phase - (current?.background?.re ?? 0);
  const im = point.quadrature - (current?.background?.im ?? 0);
  return re * Math.cos(turn) - im * Math.sin(turn);
}

/** A sweep: amplitudes and the fitted resonance. `set` takes what /sweep tells. */
export function resonance() {
  let found = null;
  const made = chart(t('fits.resonance'), {
    height: 280, axes: [{ label: 'Hz' }, { label: t('plane.amplitude') }],
    series: [{}, line('accent'), dots('warn')],
    scales: { x: { time: false, range: (plot, low, high) => [low, high] }, y: { range: airy } },
    hooks: { draw: [marks(() => (found ? [[found.f0_hz, 'f₀', 'muted']] : []))] },
  }, [[], [], []]);
  const set = (sweep) => {
    found = sweep;
    if (!sweep?.points?.length) return made.set([[], [], []]);
    const points = sweep.points.map((point) => [point.frequency_hz, Math.hypot(point.in_phase, point.quadrature)]);
    const [first, last] = [points[0][0], points.at(-1)[0]];
    const fine = Array.from({ length: FINE + 1 }, (_, index) => first + ((last - first) * index) / FINE);
    const fitted = model(sweep);
    return made.set(columns(fine.map((frequency) => [frequency, fitted(frequency)]), points));
  };
  return { ...made, set };
}

/** |S / (1 + j x) + b| over the frequency, x = 2 Q (f - f0) / f0; S is the one that is nearest to the points (its least
 *  squares are linear), for the file has f0, Q and b only. */
function model({ f0_hz: f0, q, background, points }) {
  const [bRe, bIm] = background ?? [0, 0];
  const detuned = (frequency) => (2 * q * (frequency - f0)) / f0;
  let [re, im, weight] = [0, 0, 0];
  for (const point of points) {
    const x = detuned(point.frequency_hz);
    const [zRe, zIm] = [point.in_phase - bRe, point.quadrature - bIm];
    re += (zRe + zIm * -x) / (1 + x * x);
    im += (zIm + zRe * x) / (1 + x * x);
    weight += 1 / (1 + x * x);
  }
  const [sRe, sIm] = [re / weight, im / weight];
  return (frequency) => {
    const x = detuned(frequency);
    return Math.hypot((sRe + sIm * x) / (1 + x * x) + bRe, (sIm - sRe * x) / (1 + x * x) + bIm);
  };
}

/** Columns of a curve and of points, in one order of x. */
function columns(curved, points) {
  const rows = [...curved.map(([x, y]) => [x, y, null]), ...points.map(([x, y]) => [x, null, y])].toSorted((a, b) => a[0] - b[0]);
  return [0, 1, 2].map((index) => rows.map((row) => row[index]));
}
