// History: any range of the journal, thinned by the box; a stretch that is chosen is asked for anew, in full detail.

import { address, get } from '../api.js';
import { airy, banded, chart, colour, columns, timeAxis } from '../charts.js';
import { button, choice, field, fill, h, say, section } from '../dom.js';
import { number, pair, when } from '../format.js';
import { t } from '../i18n.js';
import { attempt } from '../session.js';
import { now, store } from '../store.js';

const RANGES = [600, 3600, 21600, 86400, 604800, 2592000];
const POINTS = 1000;

/** See app.js. */
export function show(view) {
  const gases = store.box.gases;
  const unit = gases[0]?.unit ?? 'ppm';
  let node = gases[0]?.node;
  let range = { from: now() - 3600, to: now(), follows: true };
  const past = [];
  const band = banded(t('history.mean'));
  band.series.push(
    { stroke: 'transparent', points: { show: false } },
    { stroke: 'transparent', points: { show: false } },
  );
  band.bands.push({ series: [4, 5], fill: () => colour('haze') });
  const drawing = chart(
    t('history.chart'),
    {
      ...band,
      height: 340,
      axes: [timeAxis(), { label: unit }],
      scales: { x: { time: true, range: () => [range.from, range.to] }, y: { range: airy } },
      cursor: { drag: { x: true, y: false, setScale: false } },
      hooks: { setSelect: [(plot) => chosen(plot)], setCursor: [(plot) => pointed(plot)] },
    },
    [[], [], [], [], [], []],
  );
  const told = h('p', { class: 'told', id: 'history-told', role: 'status' });
  const point = h('p', { class: 'point' });
  const from = h('input', { type: 'datetime-local', step: 1 });
  const to = h('input', { type: 'datetime-local', step: 1 });
  const links = h('p', { class: 'row' });
  let rows = [];
  let turn = 0;

  const look = async () => {
    const mine = ++turn;
    const asked = { node, from: iso(range.from), to: iso(range.to), points: POINTS };
    const answer = node && (await attempt(() => get('/measurements', asked)));
    if (!answer || mine !== turn) return;
    rows = answer.rows.map((row) => ({ ...row, at: Date.parse(row.time) / 1e3 }));
    drawing.set(spread(rows));
    say(told, summary(rows, answer.thinned, unit));
    from.value = local(range.from);
    to.value = local(range.to);
    fill(
      links,
      ['csv', 'jsonl'].map((format) =>
        h(
          'a',
          {
            class: 'link',
            download: true,
            href: address('/journal', { format, from: iso(range.from), to: iso(range.to) }),
          },
          t('history.download', { format: format.toUpperCase() }),
        ),
      ),
    );
  };
  const go = (next) => {
    past.push(range);
    range = next;
    return look();
  };
  const chosen = (plot) => {
    const { left, width } = plot.select;
    if (width < 4) return;
    const next = { from: plot.posToVal(left, 'x'), to: plot.posToVal(left + width, 'x') };
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    go(next);
  };
  const pointed = (plot) => {
    const row =
      plot.cursor.idx === null || plot.cursor.idx === undefined ? null : nearest(rows, plot.data[0][plot.cursor.idx]);
    say(
      point,
      !row
        ? ''
        : `${when(row.time)}: ${
            row.valid && row.ppm !== null ? `${pair(row.ppm, 1.96 * row.sigma_ppm)} ${unit}` : t('trust.none')
          }`,
    );
  };
  const zoom = (part, shift) => () => {
    const width = (range.to - range.from) * part;
    const middle = (range.from + range.to) / 2 + shift * width;
    go({ from: middle - width / 2, to: Math.min(middle + width / 2, now()) });
  };
  const back = () => {
    range = past.pop() ?? range;
    look();
  };
  const steps = h(
    'div',
    { class: 'row' },
    ...RANGES.map((seconds) =>
      button(t(`range.${seconds}`), () => go({ from: now() - seconds, to: now() }), { id: `range-${seconds}` }),
    ),
  );
  const moves = h(
    'div',
    { class: 'row' },
    button('◀', zoom(1, -0.5), { 'aria-label': t('history.earlier'), id: 'earlier' }),
    button('▶', zoom(1, 0.5), { 'aria-label': t('history.later') }),
    button('+', zoom(0.5, 0), { 'aria-label': t('history.closer'), id: 'closer' }),
    button('−', zoom(2, 0), { 'aria-label': t('history.wider'), id: 'wider' }),
    button(t('history.back'), back, { id: 'back' }),
  );
  const exact = h(
    'form',
    { class: 'row' },
    field(t('history.from'), from),
    field(t('history.to'), to),
    h('button', { type: 'submit' }, t('show')),
  );
  exact.addEventListener('submit', (event) => {
    event.preventDefault();
    go({ from: new Date(from.value) / 1e3, to: new Date(to.value) / 1e3 });
  });
  const pick =
    gases.length > 1 &&
    field(
      t('history.gas'),
      choice(
        gases.map((gas) => [gas.node, `${gas.name} ${gas.node}`]),
        node,
        (name) => {
          node = name;
          look();
        },
      ),
    );
  view.append(
    section(
      t('history.values'),
      pick,
      steps,
      moves,
      drawing.figure,
      point,
      told,
      h('p', { class: 'hint' }, t('history.hint')),
    ),
    section(t('history.range'), exact, links),
  );
  look();
  return drawing.end;
}

/** Columns for the chart: value, 95 % around it, and how far the values went that were thinned to it. */
function spread(rows) {
  const data = columns(rows, (row) => 1.96 * row.sigma_ppm);
  const by = new Map(rows.map((row) => [row.at, row]));
  const valid = (at) => by.get(at)?.valid && by.get(at).high_ppm !== null;
  data.push(data[0].map((at) => (valid(at) ? by.get(at).high_ppm : null)));
  data.push(data[0].map((at) => (valid(at) ? by.get(at).low_ppm : null)));
  return data;
}

function summary(rows, thinned, unit) {
  const valid = rows.filter((row) => row.valid && row.ppm !== null);
  if (!valid.length) return t('history.empty');
  const low = Math.min(...valid.map((row) => row.low_ppm ?? row.ppm));
  const high = Math.max(...valid.map((row) => row.high_ppm ?? row.ppm));
  const mean = valid.reduce((sum, row) => sum + row.ppm, 0) / valid.length;
  const told = t('history.told', {
    points: rows.length,
    low: number(low, 1),
    mean: number(mean, 1),
    high: number(high, 1),
    unit,
  });
  return thinned ? `${told} ${t('history.thinned')}` : told;
}

const nearest = (rows, at) => rows.find((row) => Math.abs(row.at - at) < 1e-6);
const iso = (seconds) => new Date(seconds * 1e3).toISOString();
const local = (seconds) => {
  const date = new Date(seconds * 1e3);
  return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 19);
};
