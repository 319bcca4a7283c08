// Charts by uPlot (a global of /vendor/uplot.iife.min.js), in the page's own colours, as wide as their place.

import { h } from './dom.js';
import { number, significant } from './format.js';
import { spoken } from './i18n.js';

const drawn = new Set();

/** What a custom property is now, as a colour that a canvas takes. */
export function colour(name) {
  const probe = document.body.appendChild(h('i', { hidden: true }));
  probe.style.color = `var(--${name})`;
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

/** The same colour, thinner. */
export const faint = (name, part) => colour(name).replace('rgb(', 'rgba(').replace(')', `, ${part})`);

/** Draw all anew, in the colours that hold now. */
export function recolour() {
  for (const chart of drawn) chart.redraw(false, true);
}

/** A chart in a figure. `label` says what is to be seen, for who does not see it; `options` are uPlot's, with `height`.
 *  Given back: `figure`, `plot`, `set(data)`, `end()`. */
export function chart(label, options, data) {
  const place = h('div', { class: 'plot' });
  const figure = h('figure', { class: 'chart', role: 'img', 'aria-label': label }, place);
  const height = options.height ?? 260;
  const whole = { legend: { show: false }, ...options, width: 300, height };
  whole.cursor = { points: { show: false }, ...options.cursor };
  whole.padding = [10, 28, 0, 0];
  whole.axes = (options.axes ?? [{}, {}]).map(axis);
  const plot = new uPlot(whole, data, place);
  drawn.add(plot);
  const fit = new ResizeObserver(() =>
    requestAnimationFrame(() => {
      if (place.clientWidth > 0) plot.setSize({ width: place.clientWidth, height });
    }),
  );
  fit.observe(place);
  const end = () => {
    fit.disconnect();
    drawn.delete(plot);
    plot.destroy();
  };
  return { figure, plot, set: (values) => plot.setData(values), end };
}

/** An axis in the page's colours. */
function axis(given, index) {
  return {
    stroke: () => colour('muted'),
    font: '12px system-ui, sans-serif',
    labelFont: '12px system-ui, sans-serif',
    labelSize: 18,
    grid: { stroke: () => faint('muted', 0.18), width: 1 },
    ticks: { stroke: () => faint('muted', 0.4), width: 1, size: 5 },
    size: index === 0 ? 34 : (plot, values) => 16 + 7.2 * Math.max(3, ...(values ?? []).map((value) => value.length)),
    values: (plot, ticks) => ticks.map((tick) => label(tick, ticks)),
    ...given,
  };
}

/** A tick's number with as many decimals as its distance to the next needs. */
function label(tick, ticks) {
  if (tick === null) return '';
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : Math.abs(tick) || 1;
  if (step < 1e-4 || Math.abs(tick) >= 1e6) return tick === 0 ? '0' : significant(tick, 2);
  return number(
    tick,
    [0, 1, 2, 3, 4, 5].find((count) => Math.abs(step * 10 ** count - Math.round(step * 10 ** count)) < 1e-6) ?? 6,
  );
}

/** A time axis of seconds since 1970, in the language's own words. */
export const timeAxis = () => ({
  values: (plot, ticks) => {
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : 60;
    const clock = { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...(step < 60 ? { second: '2-digit' } : {}) };
    const shape = step < 43200 ? clock : { day: 'numeric', month: 'short' };
    return ticks.map((tick) => new Date(tick * 1e3).toLocaleString(spoken(), shape));
  },
  space: 70,
});

/** A line with its band: three series, upper and lower without a stroke of their own. */
export function banded(name, width = 1.6) {
  return {
    series: [
      {},
      { label: name, stroke: () => colour('accent'), width, points: { show: false } },
      { stroke: 'transparent', points: { show: false } },
      { stroke: 'transparent', points: { show: false } },
    ],
    bands: [{ series: [2, 3], fill: () => faint('accent', 0.22) }],
  };
}

/** A range that holds all values, with some air, and never nothing. */
export function airy(plot, low, high) {
  if (low === null || high === null) return [0, 1];
  const air = Math.max((high - low) * 0.08, Math.abs(high) * 1e-4, 1e-9);
  return [low - air, high + air];
}

/** Columns of rows of values: time, value, upper, lower; null where there is no valid value, and where rows are
 *  missing. */
export function columns(rows, doubt) {
  const data = [[], [], [], []];
  const spacing = median(rows.slice(1).map((row, index) => row.at - rows[index].at));
  rows.forEach((row, index) => {
    if (index && row.at - rows[index - 1].at > 2.6 * spacing) push(data, row.at - spacing, null, null, null);
    const u = row.valid ? doubt(row) : null;
    if (u === null || row.ppm === null) push(data, row.at, null, null, null);
    else push(data, row.at, row.ppm, row.ppm + u, row.ppm - u);
  });
  return data;
}

function push(data, ...values) {
  values.forEach((value, index) => data[index].push(value));
}

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : Infinity;
}

/** Vertical lines with words, drawn over a chart: [x, words, colour's name]. */
export const marks = (told) => (plot) => {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  told().forEach(([x, words, name], row) => {
    const at = Math.round(plot.valToPos(x, 'x', true));
    if (!(at >= bbox.left && at <= bbox.left + bbox.width)) return;
    ctx.strokeStyle = ctx.fillStyle = colour(name);
    ctx.lineWidth = devicePixelRatio;
    ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(at, bbox.top);
    ctx.lineTo(at, bbox.top + bbox.height);
    ctx.stroke();
    const right = at > bbox.left + bbox.width * 0.7;
    ctx.textAlign = right ? 'right' : 'left';
    ctx.fillText(words, at + (right ? -9 : 9) * devicePixelRatio, bbox.top + (14 + 16 * row) * devicePixelRatio);
  });
  ctx.restore();
};
