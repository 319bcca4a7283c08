// Every action node: how it fares, how long it takes, what went wrong in the customer's own lines, its log.

import { get, part, post } from '../api.js';
import { button, facts, fill, h, kept, section } from '../dom.js';
import { number, span, when } from '../format.js';
import { known, t } from '../i18n.js';
import { answered, attempt, may } from '../session.js';
import { repeated } from './signal.js';

const AGAIN_MS = 1000;

/** See app.js. */
export function show(view) {
  const cards = new Map();
  const wrong = h('p', { role: 'status' });
  view.append(wrong);
  const stop = repeated(
    async () => {
      const actions = await get('/actions');
      if (!actions.length) wrong.textContent = t('actions.none');
      for (const action of actions) {
        if (!cards.has(action.node)) {
          cards.set(action.node, card(action.node));
          view.append(cards.get(action.node).card);
        }
        cards.get(action.node).renew(action);
      }
    },
    wrong,
    AGAIN_MS,
  );
  return stop;
}

function card(node) {
  const state = h('p', { class: 'state' });
  const problem = h('div', {});
  const numbers = h('div', {});
  const shows = h('div', {});
  const controls = h('div', { class: 'row' });
  const log = h('pre', { class: 'log', tabindex: 0, 'aria-label': t('actions.log_of', { node }) });
  const details = h('details', {}, h('summary', {}, t('actions.log')), log);
  const read = async () => {
    if (!details.open) return;
    const lines = await attempt(() => get(`/actions/${part(node)}/log`));
    if (lines) fill(log, lines.map(line).join('\n') || t('actions.silent'));
  };
  details.addEventListener('toggle', read);
  const made = section(node, state, problem, numbers, shows, controls, details);
  made.id = `action-${node}`;
  made.classList.add('action');
  const renew = (action) => {
    const paused = action.state === 'paused';
    const shown = action.state === 'ok' && action.problem ? 'failing' : action.state;
    made.dataset.state = shown;
    kept(state, shown, () => known('action', shown));
    kept(problem, [action.problem, action.last_error, action.driver?.reload_problem], () => troubles(action));
    fill(numbers, counts(action));
    fill(
      shows,
      hooks(action.driver ?? {}),
      (action.driver?.shows?.lines ?? []).map((text) => h('p', {}, text)),
    );
    kept(controls, [paused, action.driver?.file], () => (may('control') ? buttons(action, paused) : []));
    read();
  };
  return { card: made, renew };
}

const line = (entry) => `${when(entry.time)}  ${entry.level}  ${entry.text}`;

/** What is wrong now, what was wrong last, and why a new version of the script is not taken. */
function troubles(action) {
  const { problem, last_error: error } = action;
  const refused = action.driver?.reload_problem;
  return [
    problem ? h('p', { class: 'why', role: 'status' }, problem) : null,
    refused ? h('p', { class: 'why', role: 'status' }, t('actions.old_runs', { why: refused })) : null,
    error && error !== problem
      ? h('div', {}, h('h3', {}, t('actions.last_error')), h('pre', { class: 'error' }, error))
      : null,
  ].filter(Boolean);
}

const ms = (value) => (value === null || value === undefined ? '' : `${number(value, value < 10 ? 2 : 0)} ms`);

/** How the functions of a script fare. */
function hooks({ functions = {} }) {
  return Object.entries(functions).map(([name, { calls, errors, p95_ms: p95 }]) =>
    h('p', { class: 'hint' }, h('code', {}, name), ' ', t('actions.hook', { calls, errors, p95: ms(p95) || '–' })),
  );
}

function counts(action) {
  return facts([
    [t('actions.delivered'), number(action.delivered)],
    [t('actions.errors'), number(action.errors)],
    [t('actions.refused'), action.refused ? number(action.refused) : ''],
    [t('actions.dropped'), action.dropped ? number(action.dropped) : ''],
    [t('actions.p95'), ms(action.p95_ms)],
    [t('actions.mean'), ms(action.mean_ms)],
    [t('actions.max'), ms(action.max_ms)],
    [t('actions.isolation'), action.driver?.isolation ?? ''],
    [t('actions.waits'), action.queue_age_s >= 1 ? span(action.queue_age_s) : ''],
  ]);
}

function buttons({ node, driver }, paused) {
  const tell = (verb) => () =>
    attempt(() => post(`/actions/${part(node)}/${verb}`)).then((told) => answered(told, t(`actions.${verb}_done`)));
  const named = (verb) => ({ id: `${verb}-${node}`, 'aria-label': `${t(`actions.${verb}`)}: ${node}` });
  return [
    driver?.file ? button(t('actions.reload'), tell('reload'), named('reload')) : null,
    paused
      ? button(t('actions.resume'), tell('resume'), { ...named('resume'), class: 'main' })
      : button(t('actions.pause'), tell('pause'), named('pause')),
  ];
}
