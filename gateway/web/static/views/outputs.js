// Outputs: what each is now, as it was read back, and what it can be told. The laser with what keeps it dark.

import { button, h, kept, section } from '../dom.js';
import { known, t } from '../i18n.js';
import { command, may } from '../session.js';
import { hear, store } from '../store.js';

const GROUPS = [
  ['laser', 'tec'],
  ['relay', 'led', 'switch', 'cell'],
  ['threshold', 'integration', 'span_gas'],
  ['calibration', 'sweep', 'actions', 'gateway', 'identify'],
];
const GRAVE = ['restart', 'safe_mode'];

/** See app.js. */
export function show(view) {
  const rows = new Map();
  const place = h('div', {});
  const groups = GROUPS.map((kinds, index) => {
    const outputs = store.box.outputs.filter(
      ({ target }) => target !== 'laser' && kinds.includes(target.split('/')[0]),
    );
    return (
      outputs.length &&
      section(
        t(`outputs.${index}`),
        h(
          'div',
          { class: 'rows' },
          outputs.map((output) => {
            const row = h('div', { class: 'output', id: `output-${output.target.replace('/', '-')}` });
            rows.set(output, row);
            return row;
          }),
        ),
      )
    );
  });
  view.append(section(t('live.laser'), place), ...groups.filter(Boolean));
  const renew = () => {
    kept(place, laserFacts(), laser);
    rows.forEach((row, output) => kept(row, store.state.outputs[output.target] ?? null, () => told(output)));
  };
  renew();
  return hear('state', renew);
}

/** All that is to be said of the laser now. */
export const laserFacts = () => [store.state.laser, store.state.outputs.laser, store.state.status.safe_mode];

/** The laser: lit or dark, why, and its switch. */
export function laser() {
  const { state, dark_because: why, barred } = store.state.laser;
  const lit = state === 'lit';
  if (!store.box.outputs.some(({ target }) => target === 'laser')) return h('p', { class: 'quiet' }, t('laser.none'));
  return [
    h('p', { class: `lamp ${state}`, id: 'laser-state' }, known('laser', state)),
    why || barred
      ? h('p', { class: 'why', id: 'laser-why' }, t(why ? 'laser.because' : 'laser.barred', { why: why || barred }))
      : null,
    button(
      t(lit || state === 'waiting' ? 'laser.off' : 'laser.on'),
      () => command('laser', lit || state === 'waiting' ? 'off' : 'on'),
      { id: 'laser-switch', disabled: !may('control'), class: lit ? '' : 'main' },
    ),
  ];
}

/** One output: its name, its state, its controls. */
function told(output) {
  const found = store.state.outputs[output.target];
  const state = found?.state ?? '–';
  const [kind, name] = output.target.split('/');
  return [
    h(
      'div',
      { class: 'what' },
      h('strong', {}, name ? `${known('output', kind)} ${name}` : known('output', kind)),
      h('span', { class: 'state' }, output.unit ? `${state} ${output.unit}` : worded(state)),
      state === 'stuck' ? h('small', { class: 'why' }, t('output.stuck')) : null,
    ),
    h('div', { class: 'row' }, may('control') ? controls(output, state) : null),
  ];
}

function controls(output, state) {
  const { target, verbs } = output;
  if (verbs.includes('set')) return dial(output, state);
  const free = verbs.filter((verb) => verb !== 'configure' && !(target === 'calibration' && verb === 'span'));
  if (target.startsWith('led/')) {
    const options = free.map((verb) => h('option', { value: verb, selected: verb === state }, known('verb', verb)));
    const chosen = h('select', { 'aria-label': t('output.pattern', { target }) }, options);
    return [chosen, button(t('set'), () => command(target, chosen.value))];
  }
  return free.map((verb) =>
    button(known('verb', verb), () => sure(verb) && command(target, verb), {
      'aria-label': `${known('verb', verb)}: ${target}`,
      'aria-pressed': pressed(verb, state),
    }),
  );
}

/** A state in words, where it has some. */
const worded = (state) => known('state', state, known('verb', state));

const pressed = (verb, state) => (verb === 'on' || verb === 'off' ? String(verb === state) : null);

const sure = (verb) => !GRAVE.includes(verb) || confirm(t(`sure.${verb}`));

function dial({ target, low, high, step, unit }, state) {
  const input = h('input', {
    type: 'number',
    min: low,
    max: high,
    step: 'any',
    value: Number.isNaN(Number(state)) ? '' : state,
    'aria-label': `${target}, ${unit}`,
    inputmode: 'decimal',
    'data-step': step,
  });
  const form = h('form', { class: 'row' }, input, h('button', { type: 'submit' }, t('set')));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    command(target, 'set', { value: Number(input.value) });
  });
  return form;
}
