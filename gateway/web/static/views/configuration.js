// The configuration file: lines with numbers, faults where they are, checked as it is written, applied on demand.

import { Problem, get, post, put } from '../api.js';
import { button, fill, h, kept, say, section } from '../dom.js';
import { t } from '../i18n.js';
import { answer, may } from '../session.js';

const CHECK_MS = 500;

/** What was written and not applied, over a look at another view. */
let draft = null;

/** See app.js. */
export function show(view) {
  if (!may('admin')) {
    view.append(h('p', { class: 'quiet' }, t('configuration.forbidden')));
    return () => {};
  }
  const parts = frame();
  const { gutter, text, verdict, file } = parts;
  let current = { text: '', etag: '', previous: false };
  let timer = null;
  let turn = 0;
  const tell = (faults) => judged(parts, current, faults);
  const look = async () => {
    current = await get('/configuration');
    const kept = draft?.etag === current.etag ? draft.text : null;
    text.value = kept ?? current.text;
    say(file, current.file);
    tell(kept === null ? current.faults : []);
    if (kept !== null) await check();
  };
  const check = async () => {
    const mine = ++turn;
    const { faults } = await post('/configuration/check', { text: text.value });
    if (mine === turn) tell(faults);
  };
  const tried = async (work) => {
    try {
      await work();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.faults.length) tell(problem.faults);
      answer(problem.message, 'bad');
    }
  };
  const taken = async ({ restart }, words) => {
    draft = null;
    await look();
    answer(restart.length ? t('configuration.restart', { what: restart.join(', ') }) : words);
  };
  const save = () =>
    tried(async () => {
      const told = await put('/configuration', { text: text.value, etag: current.etag });
      await taken(told, t('configuration.applied'));
    });
  const revert = () => tried(async () => taken(await post('/configuration/revert'), t('configuration.reverted')));
  parts.apply.addEventListener('click', save);
  parts.back.addEventListener('click', revert);
  text.addEventListener('input', () => {
    draft = { text: text.value, etag: current.etag };
    numbers(gutter, text);
    parts.apply.disabled = true;
    say(verdict, t('configuration.checking'));
    clearTimeout(timer);
    timer = setTimeout(() => tried(check), CHECK_MS);
  });
  text.addEventListener('keydown', (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key !== 's') return;
    event.preventDefault();
    if (!parts.apply.disabled) save();
  });
  view.append(parts.card);
  tried(look);
  return () => clearTimeout(timer);
}

/** The editor's elements. */
function frame() {
  const gutter = h('div', { class: 'gutter', 'aria-hidden': 'true' });
  const text = h('textarea', {
    id: 'text',
    spellcheck: 'false',
    autocapitalize: 'off',
    autocomplete: 'off',
    wrap: 'off',
    'aria-label': t('configuration.text'),
    'aria-describedby': 'verdict',
    on: { scroll: () => (gutter.scrollTop = text.scrollTop) },
  });
  const verdict = h('p', { id: 'verdict', role: 'status' });
  const list = h('ol', { class: 'faults', id: 'faults' });
  const file = h('p', { class: 'hint' });
  const apply = button(t('configuration.apply'), () => {}, { class: 'main', id: 'apply', disabled: true });
  const back = button(t('configuration.revert'), () => {}, { id: 'revert', disabled: true });
  const card = section(
    t('configuration.file'),
    file,
    h('p', { class: 'hint' }, t('configuration.how')),
    h('div', { class: 'editor' }, gutter, text),
    verdict,
    list,
    h('div', { class: 'row' }, apply, back),
  );
  return { card, gutter, text, verdict, list, file, apply, back };
}

/** Show the faults of what is written, and what can be done with it. */
function judged({ gutter, text, verdict, list, apply, back }, current, faults) {
  const changed = text.value !== current.text;
  mark(gutter, text, faults);
  fill(
    list,
    faults.map((fault) => row(fault, text)),
  );
  text.setAttribute('aria-invalid', String(faults.length > 0));
  const fine = t(changed ? 'configuration.fine' : 'configuration.same');
  say(verdict, faults.length ? t('configuration.faults', { n: faults.length }) : fine);
  verdict.className = faults.length ? 'bad' : 'good';
  apply.disabled = faults.length > 0 || !changed;
  back.disabled = !current.previous;
}

const lineHeight = (text) => parseFloat(getComputedStyle(text).lineHeight);

/** The lines' numbers; marks of before go. */
function numbers(gutter, text) {
  const count = text.value.split('\n').length;
  kept(gutter, [count], () =>
    Array.from({ length: count }, (_, index) => h('span', { id: `line-${index + 1}` }, String(index + 1))),
  );
  gutter.scrollTop = text.scrollTop;
}

/** The numbers, those of faulty lines marked. */
function mark(gutter, text, faults) {
  numbers(gutter, text);
  const lines = new Map(faults.map((fault) => [fault.line, fault.message]));
  [...gutter.children].forEach((each, index) => {
    const message = lines.get(index + 1);
    each.className = message ? 'faulty' : '';
    if (message) each.title = message;
    else each.removeAttribute('title');
  });
}

/** A fault, with a button that goes to its line. */
function row(fault, text) {
  const place = fault.line ? t('configuration.line', { line: fault.line, column: fault.column ?? 1 }) : '';
  return h(
    'li',
    {},
    fault.line ? button(place, () => jump(text, fault), { class: 'link' }) : null,
    h('code', {}, fault.option ?? ''),
    h('span', {}, fault.message),
    fault.remedy ? h('small', {}, `→ ${fault.remedy}`) : null,
  );
}

function jump(text, { line, column }) {
  const lines = text.value.split('\n');
  const start =
    lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0) + Math.max(0, (column ?? 1) - 1);
  text.focus();
  text.setSelectionRange(start, Math.max(start, start + lines[line - 1].length - (column ?? 1) + 1));
  text.scrollTop = Math.max(0, (line - 6) * lineHeight(text));
}
