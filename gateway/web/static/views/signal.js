// What the value is made of: the spectrum around the resonance, the phasor in its plane, the Allan deviation, and where
// resonance and temperature went.

import { get, part } from '../api.js';
import { airy, banded, chart, colour, marks, timeAxis } from '../charts.js';
import { button, h, say, section } from '../dom.js';
import { number, pair, significant, span } from '../format.js';
import { t } from '../i18n.js';
import { hear, result, store } from '../store.js';
import { phasors } from './plane.js';

const AGAIN_MS = 2000;
const REFUSED_MS = 4000;
const AROUND = 0.12;
const POINTS = 1000;

/** See app.js. */
export function show(view) {
  const parts = [spectrum(), phasors(), allan(), trend()].filter(Boolean);
  view.append(
    h(
      'div',
      { class: 'columns charts' },
      parts.map((each) => each.card),
    ),
  );
  return () => parts.forEach((each) => each.end());
}

/** Ask now and every `period` ms, until the end, or once where that is null; a refusal is said in `place`, and soon tried
 *  again. */
export function repeated(work, place, period) {
  let timer = null;
  let over = false;
  const turn = async () => {
    let next = period;
    try {
      await work();
    } catch (problem) {
      say(place, problem.message);
      next = Math.min(REFUSED_MS, period ?? REFUSED_MS);
    }
    if (!over && next !== null) timer = setTimeout(turn, next);
  };
  turn();
  return () => {
    over = true;
    clearTimeout(timer);
  };
}

/** The spectrum, in decibels of full scale, around the laser's frequency or whole. */
function spectrum() {
  let node = null;
  let near = true;
  const told = h('p', { class: 'told' });
  const lines = () => {
    const gas = store.box.gases[0];
    const f0 = Object.values(store.state.results).find((each) => each.kind === 'resonance')?.f0_hz;
    return [[laserHz(gas), t('signal.laser'), 'accent'], ...(f0 ? [[f0, 'f₀', 'warn']] : [])];
  };
  const drawing = chart(
    t('signal.spectrum'),
    {
      height: 260,
      axes: [{ label: 'Hz' }, { label: 'dBFS' }],
      series: [{}, { stroke: () => colour('accent'), width: 1.2, points: { show: false } }],
      scales: { x: { time: false }, y: { range: airy } },
      hooks: { draw: [marks(lines)] },
    },
    [[], []],
  );
  const toggle = button(t('signal.whole'), () => {
    near = !near;
    say(toggle, t(near ? 'signal.whole' : 'signal.near'));
    look();
  });
  const look = async () => {
    node ??= (await get('/box')).signals.find((signal) => signal.kind === 'spectrum')?.node;
    if (!node) return say(told, t('signal.none'));
    const middle = laserHz(store.box.gases[0]);
    const asked = near && middle ? { low_hz: middle * (1 - AROUND), high_hz: middle * (1 + AROUND) } : {};
    const found = await get(`/spectrum/${part(node)}`, { ...asked, points: POINTS });
    drawing.set([found.frequency_hz, found.power.map((power) => (power > 0 ? 10 * Math.log10(2 * power) : null))]);
    return say(told, t('signal.resolution', { hz: significant(found.bin_hz, 3) }));
  };
  const stop = repeated(look, told, AGAIN_MS);
  return {
    card: section(t('signal.spectrum'), drawing.figure, told, toggle),
    end: () => {
      stop();
      drawing.end();
    },
  };
}

const laserHz = (gas) => (gas && result(gas.source)?.frequency_hz) ?? null;

/** The Allan deviation of the last hours, twice logarithmic. */
function allan() {
  const gas = store.box.gases[0];
  if (!gas) return null;
  const told = h('p', { class: 'told' });
  const logarithmic = { distr: 3, time: false };
  const band = banded(t('signal.allan'));
  band.series[1].points = { show: true, size: 5 };
  const drawing = chart(
    t('signal.allan'),
    {
      ...band,
      height: 260,
      axes: [{ label: t('signal.tau') }, { label: gas.unit }].map((axis) => ({ ...axis, values: powers })),
      scales: { x: { ...logarithmic, range: decades }, y: { ...logarithmic, range: decades } },
    },
    [[], [], [], []],
  );
  const look = async () => {
    const { points } = await get('/allan', { node: gas.node, from: '-6h' });
    drawing.set(['tau_s', 'adev_ppm', 'high_ppm', 'low_ppm'].map((name) => points.map((point) => point[name])));
    const best = points.reduce((least, point) => (point.adev_ppm < least.adev_ppm ? point : least));
    say(told, t('signal.best', { ppm: significant(best.adev_ppm, 2), unit: gas.unit, span: span(best.tau_s) }));
  };
  let stop = repeated(look, told, null);
  const again = button(t('signal.again'), () => {
    stop();
    stop = repeated(look, told, null);
  });
  return {
    card: section(t('signal.allan'), drawing.figure, told, again),
    end: () => {
      stop();
      drawing.end();
    },
  };
}

const decades = (plot, low, high) =>
  low > 0 && high > 0
    ? [10 ** Math.floor(Math.log10(low * 1.001)), 10 ** Math.ceil(Math.log10(high * 0.999) + 1e-9)]
    : [0.1, 10];

/** Powers of ten only, and what lies between where there are few. */
function powers(plot, ticks) {
  return ticks.map((tick) => (tick && Math.abs(Math.log10(tick) % 1) < 1e-6 ? significant(tick, 1) : ''));
}

/** Resonance and temperature since the page was opened. */
function trend() {
  const told = h('p', { class: 'told' });
  const drawing = chart(
    t('signal.trend'),
    {
      height: 260,
      axes: [timeAxis(), { label: 'Hz' }, { side: 1, label: '°C', scale: 'warm', grid: { show: false } }],
      series: [
        {},
        { stroke: () => colour('accent'), width: 1.6, points: { show: false } },
        { stroke: () => colour('warn'), width: 1.6, points: { show: false }, scale: 'warm' },
      ],
      scales: { x: { time: true }, y: { range: broad(0.05, 2, 1) }, warm: { range: broad(0.5, 1, 2) } },
    },
    [[], [], []],
  );
  const renew = () => {
    const rows = store.trend;
    drawing.set([rows.map((row) => row.at), rows.map((row) => row.f0_hz), rows.map((row) => row.temperature)]);
    const { f0_hz: f0, sigma_f0_hz: sigma, temperature } = rows.at(-1);
    const words = [f0 && `f₀ ${pair(f0, 1.96 * sigma)} Hz`, temperature !== null && `${number(temperature, 2)} °C`];
    say(told, words.filter(Boolean).join(' · ') || t('signal.unknown'));
  };
  renew();
  const stop = hear('state', renew);
  return {
    card: section(t('signal.trend'), drawing.figure, told, h('p', { class: 'hint' }, t('signal.since'))),
    end: () => {
      stop();
      drawing.end();
    },
  };
}

/** A range of at least that much, for noise is not to look like a landslide; with so many times as much air below and
 *  above that one line is over the other. */
const broad = (least, below, above) => (plot, low, high) => {
  if (low === null) return [0, 1];
  const reach = Math.max(least, (high - low) * 0.6);
  return [(low + high) / 2 - below * reach, (low + high) / 2 + above * reach];
};
