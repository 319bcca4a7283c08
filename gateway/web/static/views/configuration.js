// The configuration file: lines with numbers, faults where they are, checked as it is written, applied on demand.

import { get, post, put } from '../api.js';
import { button, fill, h, kept, say, section } from '../dom.js';
import { t } from '../i18n.js';
import { Problem } from '../api.js';
import { answer, may } from '../session.js';

const CHECK_MS = 500;

/** See app.js. */
export function show(view) {
  let kept_ = { text: '', etag: '', previous: false };
  let timer = null;
  let turn = 0;
  const gutter = h('div', { class: 'gutter', 'aria-hidden': 'true' });
  const text = h('textarea', {
    id: 'text',
    spellcheck: 'false',
    autocapitalize: 'off',
    autocomplete: 'off',
    wrap: 'off',
    rows: 24,
    'aria-label': t('configuration.text'),
    'aria-describedby': 'verdict',
    readonly: !may('admin'),
  });
  const verdict = h('p', { id: 'verdict', role: 'status' });
  const list = h('ol', { class: 'faults', id: 'faults' });
  const apply = button(t('configuration.apply'), () => save(), { class: 'main', id: 'apply', disabled: true });
  const back = button(t('configuration.revert'), () => revert(), { id: 'revert', disabled: true });
  const say_ = (faults) => {
    mark(gutter, text, faults);
    fill(
      list,
      faults.map((fault) => row(fault, text)),
    );
    text.setAttribute('aria-invalid', String(faults.length > 0));
    const changed = text.value !== kept_.text;
    say(
      verdict,
      faults.length
        ? t('configuration.faults', { n: faults.length })
        : t(changed ? 'configuration.fine' : 'configuration.same'),
    );
    verdict.className = faults.length ? 'bad' : 'good';
    apply.disabled = faults.length > 0 || !changed || !may('admin');
    back.disabled = !kept_.previous || !may('admin');
  };
  const look = async () => {
    kept_ = await get('/configuration');
    text.value = kept_.text;
    say_(kept_.faults ?? []);
  };
  const check = async () => {
    const mine = ++turn;
    const told = await post('/configuration/check', { text: text.value });
    if (mine === turn) say_(told.faults);
  };
  const tried = async (work) => {
    try {
      await work();
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      if (problem.faults.length) say_(problem.faults);
      answer(problem.message, 'bad');
    }
  };
  const save = () =>
    tried(async () => {
      const told = await put('/configuration', { text: text.value, etag: kept_.etag });
      await look();
      answer(
        told.restart?.length
          ? t('configuration.restart', { what: told.restart.join(', ') })
          : t('configuration.applied'),
      );
    });
  const revert = () =>
    tried(async () => {
      await post('/configuration/revert');
      await look();
      answer(t('configuration.reverted'));
    });
  text.addEventListener('input', () => {
    numbers(gutter, text);
    apply.disabled = true;
    say(verdict, t('configuration.checking'));
    clearTimeout(timer);
    timer = setTimeout(() => tried(check), CHECK_MS);
  });
  text.addEventListener('scroll', () => {
    gutter.scrollTop = text.scrollTop;
  });
  text.addEventListener('keydown', (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === 's') {
      event.preventDefault();
      if (!apply.disabled) save();
    }
  });
  view.append(
    section(
      t('configuration.file'),
      h('p', { class: 'hint' }, t('configuration.how')),
      h('div', { class: 'editor' }, gutter, text),
      verdict,
      list,
      h('div', { class: 'row' }, apply, back),
    ),
  );
  tried(look);
  return () => clearTimeout(timer);
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
