// Fits, drawn: a calibration's points with its curve, and a sweep's points with the resonance.

import { airy, chart, colour, marks } from '../charts.js';
import { t } from '../i18n.js';

const FINE = 200;
const dots = (name) => ({
  paths: () => null,
  points: { show: true, size: 9, fill: () => colour(name), stroke: () => colour(name) },
});
const line = (name) => ({
  stroke: () => colour(name),
  width: 1.8,
  points: { show: false },
  spanGaps: true,
  pxAlign: 0,
});

/** The points of a calibration, and its curve. `set` takes an object of /calibrations. */
export function curve(gas) {
  const made = chart(
    t('fits.curve'),
    {
      height: 280,
      axes: [{ label: gas.unit }, { label: t('fits.signal') }],
      series: [{}, line('accent'), dots('warn')],
      scales: { x: { time: false, range: airy }, y: { range: airy } },
    },
    [[], [], []],
  );
  const set = (found) => {
    if (!found?.current) return made.set([[], [], []]);
    const { curve: shape, points: kept } = found.current;
    const points = (kept.length ? kept : found.points).map((point) => [point.ppm, along(point, found.current)]);
    const top = points.length ? Math.max(...points.map(([ppm]) => ppm)) * 1.1 : shape.max_ppm;
    const fine = Array.from({ length: FINE + 1 }, (_, index) => (top * index) / FINE);
    const at = (ppm) => (shape.slope * ppm) / (1 + shape.bend * ppm);
    return made.set(
      columns(
        fine.map((ppm) => [ppm, at(ppm)]),
        points,
      ),
    );
  };
  return { ...made, set };
}

/** What of a point lies along the gas's phase, without what is heard without gas. */
function along(point, current) {
  const turn = (-current.phase_deg * Math.PI) / 180;
  const re = point.re - current.background.re;
  const im = point.im - current.background.im;
  return re * Math.cos(turn) - im * Math.sin(turn);
}

/** A sweep: amplitudes and the fitted resonance. `set` takes what /sweep tells. */
export function resonance() {
  let found = null;
  const made = chart(
    t('fits.resonance'),
    {
      height: 280,
      axes: [{ label: 'Hz' }, { label: t('plane.amplitude') }],
      series: [{}, line('accent'), dots('warn')],
      scales: { x: { time: false, range: (plot, low, high) => [low, high] }, y: { range: airy } },
      hooks: { draw: [marks(() => (found ? [[found.f0_hz, 'f₀', 'muted']] : []))] },
    },
    [[], [], []],
  );
  const set = (sweep) => {
    found = sweep;
    if (!sweep?.points?.length) return made.set([[], [], []]);
    const points = sweep.points.map((point) => [point.frequency_hz, Math.hypot(point.in_phase, point.quadrature)]);
    const fitted = (sweep.fit?.frequency_hz ?? []).map((frequency, index) => [frequency, sweep.fit.amplitude[index]]);
    return made.set(columns(fitted, points));
  };
  return { ...made, set };
}

/** Columns of a curve and of points, in one order of x. */
function columns(curved, points) {
  const rows = [...curved.map(([x, y]) => [x, y, null]), ...points.map(([x, y]) => [x, null, y])].toSorted(
    (a, b) => a[0] - b[0],
  );
  return [0, 1, 2].map((index) => rows.map((row) => row[index]));
}
