// The phasor of a lock-in in its plane: in-phase to the right, quadrature upwards, both to the same scale.

import { get, part } from '../api.js';
import { chart, colour } from '../charts.js';
import { button, h, say, section } from '../dom.js';
import { number, significant } from '../format.js';
import { t } from '../i18n.js';
import { store } from '../store.js';
import { repeated } from './signal.js';

const AGAIN_MS = 1000;
const HEIGHT = 300;

/** A card like those of signal.js; null where there is no lock-in. */
export function phasors() {
  const node = store.box.signals.find((signal) => signal.kind === 'lock_in')?.node;
  if (!node) return null;
  const told = h('p', { class: 'told' });
  let newest = null;
  let whole = true;
  const drawing = chart(
    t('plane.title'),
    {
      height: HEIGHT,
      axes: [{ label: t('plane.in_phase') }, { label: t('plane.quadrature') }],
      series: [
        {},
        {
          stroke: () => colour('accent'),
          paths: () => null,
          points: { show: true, size: 4, fill: () => colour('accent') },
        },
      ],
      scales: {
        x: { time: false, range: (plot) => reach(plot, 0, whole) },
        y: { range: (plot) => reach(plot, 1, whole) },
      },
      cursor: { drag: { x: false, y: false } },
      hooks: { draw: [(plot) => arrow(plot, newest)] },
    },
    [[], []],
  );
  const stop = repeated(
    async () => {
      const { points } = await get(`/lock-in/${part(node)}`);
      if (!points.length) return say(told, t('trust.waiting'));
      newest = points.at(-1);
      const sorted = points.toSorted((a, b) => a.in_phase - b.in_phase);
      drawing.set([sorted.map((point) => point.in_phase), sorted.map((point) => point.quadrature)]);
      const degrees = (Math.atan2(newest.quadrature, newest.in_phase) * 180) / Math.PI;
      return say(
        told,
        t('plane.told', {
          amplitude: significant(Math.hypot(newest.in_phase, newest.quadrature), 4),
          sigma: significant(newest.sigma, 2),
          degrees: number(degrees, 1),
          points: points.length,
        }),
      );
    },
    told,
    AGAIN_MS,
  );
  const toggle = button(t('plane.near'), () => {
    whole = !whole;
    say(toggle, t(whole ? 'plane.near' : 'plane.whole'));
    drawing.plot.setData(drawing.plot.data);
  });
  return {
    card: section(t('plane.title'), drawing.figure, told, h('p', { class: 'hint' }, t('plane.why')), toggle),
    end: () => {
      stop();
      drawing.end();
    },
  };
}

/** The range of one axis: all points, and the origin with the `whole`; as many units a pixel as on the other axis. */
function reach(plot, which, whole) {
  const [xs, ys] = plot.data;
  const origin = whole ? [0] : [];
  const extents = [xs, ys].map((values) => [Math.min(...origin, ...values), Math.max(...origin, ...values)]);
  if (!xs.length) return [0, 1];
  const pixels = [Math.max(50, plot.bbox?.width ?? 300), Math.max(50, plot.bbox?.height ?? 200)];
  const perPixel = Math.max(...extents.map(([low, high], index) => (high - low) / pixels[index])) || 1e-9;
  const [low, high] = extents[which];
  const half = (perPixel * pixels[which] * 1.15) / 2;
  return [(low + high) / 2 - half, (low + high) / 2 + half];
}

/** From the origin to the newest phasor, with the circle of one standard deviation times two. */
function arrow(plot, newest) {
  if (!newest) return;
  const { ctx } = plot;
  const at = (x, y) => [plot.valToPos(x, 'x', true), plot.valToPos(y, 'y', true)];
  const [ox, oy] = at(0, 0);
  const [x, y] = at(newest.in_phase, newest.quadrature);
  const radius = Math.abs(at(newest.in_phase + 2 * newest.sigma, 0)[0] - x);
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  ctx.clip();
  ctx.lineWidth = 2 * devicePixelRatio;
  ctx.strokeStyle = colour('warn');
  ctx.beginPath();
  ctx.moveTo(ox, oy);
  ctx.lineTo(x, y);
  ctx.stroke();
  ctx.beginPath();
  ctx.arc(x, y, Math.max(radius, 5 * devicePixelRatio), 0, 2 * Math.PI);
  ctx.stroke();
  ctx.restore();
}
