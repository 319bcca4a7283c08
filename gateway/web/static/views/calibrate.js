// Calibration by steps: zero gas, span gas, what came of it; then the sweep across the resonance, with its fit.

import { get, post, remove, part } from '../api.js';
import { button, choice, facts, field, fill, h, kept, section } from '../dom.js';
import { number, significant, when } from '../format.js';
import { t } from '../i18n.js';
import { answered, attempt, command, may } from '../session.js';
import { hear, result, store } from '../store.js';
import { judge } from '../trust.js';
import { curve, resonance } from './fits.js';

/** See app.js. */
export function show(view) {
  const ends = [];
  if (!may('control')) view.append(h('p', { class: 'quiet' }, t('calibrate.forbidden')));
  if (store.box.outputs.some(({ target }) => target === 'calibration')) ends.push(gases(view));
  else view.append(h('p', { class: 'quiet' }, t('calibrate.none')));
  if (store.box.outputs.some(({ target }) => target === 'sweep')) ends.push(sweep(view));
  return () => ends.forEach((end) => end());
}

/** Zero, span, result. */
function gases(view) {
  let { node } = store.box.gases[0];
  const ppm = h('input', { type: 'number', min: 0, step: 'any', required: true, id: 'span-ppm', value: 1000 });
  const sigma = h('input', { type: 'number', min: 0, step: 'any', id: 'span-sigma', value: 5 });
  const fresh = h('input', { type: 'checkbox', checked: true, id: 'fresh' });
  const reading = h('p', { class: 'reading-now' });
  const zero = job('calibration', 'zero', t('calibrate.zero_begin'), () => start({ kind: 'zero', new: fresh.checked }));
  const span = job('calibration', 'span', t('calibrate.span_begin'), () =>
    start({
      kind: 'span',
      ppm: Number(ppm.value),
      ...(sigma.value === '' ? {} : { sigma_ppm: Number(sigma.value) }),
    }),
  );
  const start = (asked) => begun(() => post('/calibrations', { node, ...asked }));
  const found = h('div', {});
  const drawing = curve(store.box.gases[0]);
  const look = async () => {
    const told = await attempt(() => get('/calibrations'));
    if (!told) return;
    const mine = told.find((each) => each.node === node);
    drawing.set(mine);
    fill(found, outcome(mine));
  };
  const which =
    store.box.gases.length > 1
      ? field(
          t('history.gas'),
          choice(
            store.box.gases.map((gas) => [gas.node, `${gas.name} ${gas.node}`]),
            node,
            (name) => {
              node = name;
              look();
            },
          ),
        )
      : null;
  const fillers = (...values) =>
    store.box.simulated
      ? values.map(([text, value]) =>
          button(text, () => command('cell', 'set', { value: value() }), { disabled: !may('control') }),
        )
      : [];
  view.append(
    step(
      1,
      t('calibrate.zero'),
      which,
      h('p', {}, t('calibrate.zero_how')),
      reading,
      h('div', { class: 'row' }, fillers([t('calibrate.fill_zero'), () => 0])),
      h('label', { class: 'check' }, fresh, ` ${t('calibrate.new')}`),
      zero.element,
    ),
    step(
      2,
      t('calibrate.span'),
      h('p', {}, t('calibrate.span_how')),
      h(
        'div',
        { class: 'row' },
        field(t('calibrate.ppm'), ppm),
        field(t('calibrate.sigma'), sigma, t('calibrate.sigma_hint')),
      ),
      h('div', { class: 'row' }, fillers([t('calibrate.fill_span'), () => Number(ppm.value)])),
      span.element,
    ),
    step(3, t('calibrate.result'), found, drawing.figure),
  );
  const renew = () => {
    const now = judge(result(node));
    fill(reading, t('calibrate.now', { value: now.text ? `${now.text} ppm` : t('trust.none') }));
  };
  const ends = [
    hear('state', renew),
    hear('job', (told) => {
      if (told.name === 'calibration' && told.state === 'done') look();
    }),
  ];
  renew();
  look();
  return () => {
    [...ends, zero.end, span.end, drawing.end].forEach((end) => end());
  };
}

/** Begin a procedure; whether it has begun. What the door refuses is said. */
async function begun(work) {
  const told = await attempt(work);
  if (told && !told.done) answered(told);
  return Boolean(told?.done);
}

function step(index, title, ...children) {
  const made = section(t('calibrate.step', { n: index, title }), children);
  made.classList.add('step');
  made.id = `step-${index}`;
  return made;
}

/** A button that begins a job, and how far it is; `word` is the kind of its result. */
function job(name, word, text, begin) {
  let mine = false;
  const place = h('div', { class: 'job', id: `job-${word}` });
  const renew = () => {
    const found = store.jobs.find((each) => each.name === name);
    const running = found?.state === 'running';
    const seen = found && (mine || (running && found.text.startsWith(word))) ? found : null;
    kept(place, [running, seen, may('control')], () => [
      h(
        'div',
        { class: 'row' },
        button(
          text,
          async () => {
            mine = await begin();
            renew();
          },
          { class: 'main', id: `begin-${word}`, disabled: running || !may('control') },
        ),
        running && seen
          ? button(t('cancel'), () => attempt(() => remove(`/jobs/${part(name)}`)).then((told) => answered(told)), {
              id: `cancel-${word}`,
            })
          : null,
      ),
      seen ? h('p', { class: `outcome ${seen.state}`, role: 'status' }, seen.text) : null,
      running && seen ? h('progress', { max: 1, value: seen.progress, 'aria-label': text }) : null,
    ]);
  };
  const end = hear('job', (told) => {
    if (told.name === name && told.state === 'running' && !told.text.startsWith(word)) mine = false;
    renew();
  });
  renew();
  return { element: place, renew, end };
}

/** What a calibration says of itself. */
function outcome(found) {
  if (!found?.current) return [h('p', { class: 'quiet' }, found?.problem || t('calibrate.nothing'))];
  const { current, points, problem } = found;
  return [
    problem ? h('p', { class: 'why' }, problem) : null,
    facts([
      [t('calibrate.made'), when(current.created)],
      [t('calibrate.slope'), significant(current.curve.slope, 4)],
      [t('calibrate.range'), `${number(current.curve.min_ppm)} – ${number(current.curve.max_ppm)} ppm`],
      [t('calibrate.phase'), `${number(current.phase_deg, 2)}°`],
      [t('calibrate.points'), number((current.points.length ? current.points : points).length)],
      [t('calibrate.checks'), current.checks?.p_value ? `p = ${significant(current.checks.p_value, 2)}` : ''],
      [t('calibrate.versions'), number(found.versions.length)],
    ]),
    h('p', { class: 'hint' }, found.file),
  ];
}

/** The sweep across the resonance. */
function sweep(view) {
  const run = job('sweep', 'sweep', t('sweep.begin'), () => begun(() => post('/sweeps', {})));
  const told = h('div', {});
  const drawing = resonance();
  const look = async () => {
    const found = await get('/sweep').catch(() => null);
    drawing.set(found);
    fill(
      told,
      found
        ? facts([
            ['f₀ ± σ', `${number(found.f0_hz, 3)} ± ${significant(found.sigma_f0_hz, 2)} Hz`],
            ['Q ± σ', `${number(found.q, 2)} ± ${significant(found.sigma_q, 2)}`],
            [t('sweep.fit'), t(found.good ? 'sweep.good' : 'sweep.bad')],
            [t('calibrate.made'), found.time ? when(found.time) : ''],
          ])
        : h('p', { class: 'quiet' }, t('sweep.never')),
    );
  };
  view.append(section(t('sweep.title'), h('p', {}, t('sweep.how')), run.element, told, drawing.figure));
  const heard = hear('job', (each) => {
    if (each.name === 'sweep' && each.state === 'done') look();
  });
  look();
  return () => [heard, run.end, drawing.end].forEach((end) => end());
}
