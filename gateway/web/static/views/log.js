// The gateway's log: what it said lately, and what it says now.

import { get } from '../api.js';
import { button, choice, field, fill, h } from '../dom.js';
import { when } from '../format.js';
import { t } from '../i18n.js';
import { attempt } from '../session.js';
import { hear } from '../store.js';

const LEVELS = ['info', 'warning', 'error'];
const ALL = ['debug', ...LEVELS, 'critical'];
const MOST = 500;

/** See app.js. */
export function show(view) {
  let least = 'info';
  const list = h('ol', { class: 'lines', id: 'lines', tabindex: 0, 'aria-label': t('view.log') });
  const look = async () => {
    const lines = await attempt(() => get('/logs', { level: least, limit: MOST }));
    if (lines) fill(list, lines.map(row).reverse());
  };
  const chosen = choice(
    LEVELS.map((level) => [level, t(`level.${level}`)]),
    least,
    (level) => {
      least = level;
      look();
    },
  );
  view.append(h('div', { class: 'row' }, field(t('log.level'), chosen), button(t('log.again'), look)), list);
  look();
  return hear('log', (line) => {
    if (ALL.indexOf(line.level.toLowerCase()) < ALL.indexOf(least)) return;
    list.prepend(row(line));
    while (list.children.length > MOST) list.lastChild.remove();
  });
}

const row = (line) =>
  h(
    'li',
    { class: line.level.toLowerCase() },
    h('time', { datetime: line.time }, when(line.time)),
    h('span', { class: 'level' }, t(`level.${line.level.toLowerCase()}`)),
    h('span', { class: 'source' }, line.logger),
    h('span', {}, line.message),
  );
