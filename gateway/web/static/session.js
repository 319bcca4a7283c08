// Who is there, and what they may do.

import { Problem, part, post } from './api.js';
import { fill, h } from './dom.js';
import { t } from './i18n.js';

const ORDER = ['read', 'control', 'admin'];
const SHOWN_MS = { good: 4000, bad: 10000 };

export const session = { user: null, scope: null, csrf: null, setup: false, code_needed: false };

/** Whether who is there may do what needs that scope. */
export const may = (scope) => ORDER.indexOf(session.scope) >= ORDER.indexOf(scope);

/** Say what became of something, for a while, and to a screen reader. */
export function answer(text, level = 'good') {
  const place = document.getElementById('answers');
  const told = h('p', { class: `answer ${level}` }, text);
  fill(place, told);
  setTimeout(() => told.remove(), SHOWN_MS[level]);
}

/** Do something; what goes wrong is said. Gives null then. */
export async function attempt(work, done = '') {
  try {
    const made = await work();
    if (done) answer(done);
    return made;
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    answer(problem.message, 'bad');
    return null;
  }
}

/** Tell an output something, and say what became of it. */
export async function command(target, verb, args = {}) {
  const path = `/outputs/${target.split('/').map(part).join('/')}`;
  const told = await attempt(() => post(path, { verb, args }));
  return answered(told, `${target}: ${told?.state}`);
}

/** Say what the door answered; whether it is done. */
export function answered(told, done = t('done')) {
  if (told && !told.done) answer(told.reason, 'bad');
  else if (told) answer(told.reason || done);
  return Boolean(told?.done);
}
