// The value, whether it can be trusted, what it did in the last ten minutes; alerts and the laser beside it.

import { get } from '../api.js';
import { airy, banded, chart, columns, timeAxis } from '../charts.js';
import { button, facts, field, fill, h, kept, say, section } from '../dom.js';
import { number, pair, significant, span } from '../format.js';
import { known, t } from '../i18n.js';
import { command, may } from '../session.js';
import { RECENT_S, before, hear, now, result, store } from '../store.js';
import { judge } from '../trust.js';
import { raised } from './alerts.js';
import { laser, laserFacts } from './outputs.js';

const ANNOUNCED_MS = 15000;

/** See app.js: fill the view, give back what ends it. */
export function show(view) {
  const gases = store.box.gases.map(gas);
  const faults = h('div', { role: 'alert', id: 'configuration-faults' });
  const alerts = h('div', {});
  const light = h('div', {});
  const about = h('div', {});
  const cell = simulated();
  view.append(
    faults,
    ...gases.map((each) => each.card),
    h(
      'div',
      { class: 'columns' },
      section(t('live.alerts'), alerts),
      section(t('live.laser'), light),
      cell,
      section(t('live.box'), about),
    ),
  );
  const renew = () => {
    gases.forEach((each) => each.renew());
    kept(faults, store.state.status.configuration_faults, misconfigured);
    kept(alerts, store.state.alerts, raised);
    kept(light, laserFacts(), laser);
    fill(about, fares());
  };
  const quick = () => gases.forEach((each) => each.renew());
  const ends = [hear('state', renew), hear('measurement', quick)];
  const timer = setInterval(quick, 500);
  renew();
  return () => {
    clearInterval(timer);
    ends.forEach((end) => end());
    gases.forEach((each) => each.end());
  };
}

/** The card of a gas. */
function gas({ node, name, unit, source }) {
  const value = h('p', { class: 'value', id: `value-${node}` });
  const verdict = h('p', { class: 'verdict', id: `verdict-${node}` });
  const age = h('p', { class: 'age', id: `age-${node}` });
  const reasons = h('ul', { class: 'reasons', id: `reasons-${node}` });
  const more = h('div', {});
  const aloud = h('p', { class: 'unseen', role: 'status', 'aria-live': 'polite' });
  const band = banded(name);
  const first = () => store.recent.get(node)?.[0]?.at ?? Infinity;
  const drawing = chart(
    t('live.chart', { name }),
    {
      ...band,
      height: 220,
      axes: [timeAxis(), { label: unit }],
      scales: {
        x: { time: true, range: () => [Math.max(now() - RECENT_S, Math.min(first(), now() - 60)), now()] },
        y: { range: airy },
      },
    },
    [[], [], [], []],
  );
  const card = h(
    'section',
    { class: 'card gas', id: `gas-${node}`, 'aria-label': `${name} ${node}` },
    h('h2', {}, `${name.toUpperCase()} `, h('small', {}, node)),
    h('div', { class: 'reading' }, value, verdict, reasons, age),
    aloud,
    more,
    drawing.figure,
    h('p', { class: 'hint' }, t('live.band')),
  );
  let spoken = { level: '', at: 0 };
  get('/measurements', { node, from: '-10min', points: 1200 }).then(
    (told) => before(node, told.rows),
    () => {},
  );

  const renew = () => {
    const measurement = result(node);
    const found = judge(measurement);
    card.dataset.trust = found.level;
    fill(value, found.text ? [found.text, ' ', h('small', {}, unit)] : t('trust.none'));
    say(verdict, t(`trust.${found.level}`) + (found.level === 'none' ? '' : ` · ${t('trust.interval')}`));
    kept(reasons, found.reasons, () => found.reasons.map((reason) => h('li', {}, reason)));
    say(age, found.age === null ? '' : t('age', { span: span(found.age) }));
    fill(more, details(measurement, found, unit, source));
    drawing.set(columns(store.recent.get(node) ?? [], (row) => row.u95_ppm ?? 1.96 * row.sigma_ppm));
    if (found.level !== spoken.level || performance.now() > spoken.at + ANNOUNCED_MS) {
      const told = found.text ? `${found.text} ${unit}` : '';
      say(aloud, `${name}: ${[told, t(`trust.${found.level}`), ...found.reasons].filter(Boolean).join('. ')}`);
      spoken = { level: found.level, at: performance.now() };
    }
  };
  return { card, renew, end: drawing.end };
}

/** What stands behind the value. */
function details(measurement, found, unit, source) {
  const told = result(source);
  const followed = result(`${measurement?.node}_resonance`);
  const sure = found.level !== 'none';
  return facts([
    [
      t('live.smoothed'),
      sure && measurement.smoothed_ppm !== null
        ? `${pair(measurement.smoothed_ppm, 1.96 * measurement.sigma_smoothed_ppm)} ${unit}`
        : '',
    ],
    [t('live.lod'), measurement?.lod_ppm ? `${significant(measurement.lod_ppm, 2)} ${unit}` : ''],
    [t('live.snr'), Number.isFinite(told?.snr_db) ? `${number(told.snr_db, 1)} dB` : ''],
    [t('live.frequency'), Number.isFinite(told?.frequency_hz) ? `${number(told.frequency_hz, 2)} Hz` : ''],
    [t('live.integration'), told?.integration_s ? `${number(told.integration_s, 1)} s` : ''],
    [t('live.resonance'), followed ? `${pair(followed.f0_hz, 1.96 * followed.sigma_f0_hz)} Hz` : ''],
  ]);
}

/** What is wrong with the configuration file, if anything is. */
function misconfigured() {
  const told = store.state.status.configuration_faults;
  return told.length
    ? section(t('live.faults'), h('ul', { class: 'reasons' }, ...told.map((fault) => h('li', {}, fault))))
    : null;
}

/** How the box fares. */
function fares() {
  const { status } = store.state;
  const { temperature_c: warm, humidity_percent: damp, pressure_pa: heavy } = status.climate ?? {};
  return facts([
    [t('box.safe_mode'), status.safe_mode],
    [
      t('box.climate'),
      [
        warm && `${number(warm.value, 1)} °C`,
        damp && `${number(damp.value, 0)} %`,
        heavy && `${number(heavy.value / 100, 0)} hPa`,
      ]
        .filter(Boolean)
        .join(', '),
    ],
    [t('box.mqtt'), known('mqtt', status.mqtt)],
    [t('box.sound'), t('box.lost', { overruns: number(status.overruns), frames: number(status.lost_frames) })],
    [t('box.version'), `${status.version}, ${status.board}`],
  ]);
}

/** On a simulated box: what is in the cell. */
function simulated() {
  if (!store.box.outputs.some((output) => output.target === 'cell')) return null;
  const ppm = h('input', {
    type: 'number',
    min: 0,
    step: 'any',
    required: true,
    value: store.state.outputs.cell?.state ?? '',
    id: 'ppm',
  });
  const form = h(
    'form',
    { class: 'row' },
    field(t('cell.ppm'), ppm),
    h('button', { type: 'submit', id: 'set-ppm', disabled: !may('control') }, t('set')),
    button(t('cell.zero'), () => command('cell', 'set', { value: 0 }), { disabled: !may('control') }),
  );
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    command('cell', 'set', { value: Number(ppm.value) });
  });
  return section(t('cell.title'), h('p', { class: 'hint' }, t('cell.why')), form);
}
