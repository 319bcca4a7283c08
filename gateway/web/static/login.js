// The door: the first password where there is none yet, and the password afterwards.

import { post } from './api.js';
import { choice, field, h, say } from './dom.js';
import { LANGUAGES, speak, spoken, t } from './i18n.js';
import { session } from './session.js';

const SHORTEST = 8;

/** The door as an element; `opened` is called when it is open. */
export function login(opened) {
  const wrong = h('p', { class: 'wrong', role: 'alert', id: 'wrong' });
  const password = h('input', {
    type: 'password',
    name: 'password',
    required: true,
    'aria-describedby': 'wrong',
    autocomplete: session.setup ? 'new-password' : 'current-password',
    minlength: session.setup ? SHORTEST : null,
  });
  const again = h('input', { type: 'password', name: 'again', required: true, autocomplete: 'new-password' });
  const code = h('input', { name: 'code', required: true, autocomplete: 'one-time-code', spellcheck: 'false' });
  const enter = h('button', { type: 'submit', class: 'main' }, t(session.setup ? 'setup.begin' : 'login.enter'));
  const form = h(
    'form',
    {},
    owner(),
    session.setup ? h('p', {}, t('setup.why')) : null,
    session.setup && session.code_needed ? field(t('setup.code'), code, t('setup.where')) : null,
    field(t('login.password'), password, session.setup ? t('setup.length', { n: SHORTEST }) : ''),
    session.setup ? field(t('setup.again'), again) : null,
    wrong,
    enter,
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (session.setup && password.value !== again.value) return say(wrong, t('setup.differ'));
    enter.disabled = true;
    try {
      await knock(password.value, code.value);
      await opened();
    } catch (problem) {
      say(wrong, problem.message);
      enter.disabled = false;
      password.select();
    }
    return null;
  });
  const tongue = choice(Object.entries(LANGUAGES), spoken(), async (name) => {
    await speak(name);
    await opened();
  });
  setTimeout(() => (session.setup && session.code_needed ? code : password).focus());
  return h('main', { class: 'door', id: 'door' }, h('h1', {}, t('title')), form, field(t('settings.language'), tongue));
}

/** For password managers, which want to know whose password it is. */
export const owner = () => h('input', { name: 'username', value: 'owner', autocomplete: 'username', hidden: true });

async function knock(password, code) {
  if (session.setup) await post('/setup', session.code_needed ? { password, code } : { password });
  if (session.setup) session.setup = false;
  await post('/session', { password });
}
