// Alerts: those that are raised, to be acknowledged, and those of before.

import { get, part, post } from '../api.js';
import { fill, h, kept, section } from '../dom.js';
import { significant, when } from '../format.js';
import { known, t } from '../i18n.js';
import { attempt, may } from '../session.js';
import { hear, store } from '../store.js';

const MOST = 200;
const UNITS = { concentration: ' ppm', frequency_deviation: ' Hz' };

/** See app.js. */
export function show(view) {
  const above = h('div', {});
  const below = h('div', {});
  view.append(section(t('alerts.raised'), above), section(t('alerts.before'), below));
  const renew = () => kept(above, store.state.alerts, raised);
  const look = async () => {
    const told = await attempt(() => get('/alerts', { from: '-30d', limit: MOST }));
    if (told) fill(below, table(told));
  };
  const ends = [hear('state', renew), hear('alert', look)];
  renew();
  look();
  return () => ends.forEach((end) => end());
}

/** The alerts that are raised now, each with its button. */
export function raised() {
  const alerts = store.state.alerts;
  if (!alerts.length) return h('p', { class: 'quiet' }, t('alerts.none'));
  return h(
    'ul',
    { class: 'alerts' },
    alerts.map((alert) =>
      h(
        'li',
        { class: `alert ${alert.severity}` },
        h(
          'div',
          {},
          h('strong', {}, `${t(`severity.${alert.severity}`)}: ${alert.rule}`),
          h('span', {}, words(alert)),
          h('small', {}, when(alert.time)),
          acknowledged(alert),
        ),
        alert.acknowledged || !may('control') ? null : form(alert),
      ),
    ),
  );
}

/** What is the matter, in words. */
function words(alert) {
  if (alert.message) return alert.message;
  if (alert.value === null) return t('alert.silent', { node: alert.source, seconds: significant(alert.threshold, 3) });
  const unit = UNITS[alert.type] ?? '';
  return t('alert.crossed', {
    what: known('trigger', alert.type),
    node: alert.source,
    value: `${significant(alert.value)}${unit}`,
    threshold: `${significant(alert.threshold)}${unit}`,
  });
}

/** Who has seen it. */
function acknowledged(alert) {
  const seen = alert.acknowledged;
  if (!seen) return null;
  const told = t('alert.seen', { by: seen.by, at: when(seen.time) });
  return h('small', { class: 'seen' }, seen.note ? `${told}: ${seen.note}` : told);
}

function form(alert) {
  const note = h('input', { 'aria-label': t('alert.note'), placeholder: t('alert.note'), maxlength: 200 });
  const made = h(
    'form',
    { class: 'row' },
    note,
    h(
      'button',
      { type: 'submit', class: 'acknowledge', 'aria-label': t('alert.acknowledge_one', { rule: alert.rule }) },
      t('alert.acknowledge'),
    ),
  );
  made.addEventListener('submit', (event) => {
    event.preventDefault();
    attempt(
      () => post(`/alerts/${part(alert.id)}/acknowledge`, note.value ? { note: note.value } : {}),
      t('alert.done'),
    );
  });
  return made;
}

function table(alerts) {
  if (!alerts.length) return h('p', { class: 'quiet' }, t('alerts.never'));
  const head = ['time', 'rule', 'state', 'what'].map((name) => h('th', { scope: 'col' }, t(`column.${name}`)));
  return h(
    'div',
    { class: 'wide' },
    h(
      'table',
      {},
      h('thead', {}, h('tr', {}, head)),
      h(
        'tbody',
        {},
        alerts.map((alert) =>
          h(
            'tr',
            { class: alert.severity },
            h('td', {}, when(alert.time)),
            h('td', {}, alert.rule),
            h('td', {}, known('alert_state', alert.state)),
            h('td', {}, words(alert), acknowledged(alert)),
          ),
        ),
      ),
    ),
  );
}
