// Settings of the page, and who may enter: language, light, password, tokens for machines.

import { get, part, post, remove } from '../api.js';
import { button, choice, field, fill, h, say, section } from '../dom.js';
import { when } from '../format.js';
import { LANGUAGES, spoken, t } from '../i18n.js';
import { owner } from '../login.js';
import { answer, attempt, may, session } from '../session.js';

const SHORTEST = 8;
const THEMES = ['auto', 'light', 'dark'];
const SCOPES = ['read', 'control', 'admin'];

/** See app.js; `page` has what changes the whole of it. */
export function show(view, page) {
  const theme = localStorage.getItem('theme') ?? 'auto';
  view.append(
    section(
      t('settings.page'),
      field(t('settings.language'), choice(Object.entries(LANGUAGES), spoken(), page.speaks)),
      field(
        t('settings.theme'),
        choice(
          THEMES.map((name) => [name, t(`theme.${name}`)]),
          theme,
          page.dress,
        ),
      ),
    ),
    section(
      t('settings.session'),
      h('p', {}, t('settings.who', { user: session.user, scope: t(`scope.${session.scope}`) })),
      session.csrf
        ? button(t('settings.leave'), () => attempt(page.leave), { id: 'leave' })
        : button(t('login.enter'), page.knock, { class: 'main' }),
    ),
  );
  if (may('admin')) view.append(password(), tokens());
}

function password() {
  const [old, fresh, again] = ['current-password', 'new-password', 'new-password'].map((autocomplete, index) =>
    h('input', {
      type: 'password',
      required: true,
      autocomplete,
      minlength: index ? SHORTEST : null,
    }),
  );
  const wrong = h('p', { class: 'wrong', role: 'alert' });
  const form = h(
    'form',
    {},
    owner(),
    field(t('password.old'), old),
    field(t('password.new'), fresh, t('setup.length', { n: SHORTEST })),
    field(t('setup.again'), again),
    wrong,
    h('button', { type: 'submit' }, t('password.change')),
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (fresh.value !== again.value) return say(wrong, t('setup.differ'));
    try {
      await post('/password', { old: old.value, new: fresh.value });
      form.reset();
      say(wrong, '');
      answer(t('password.done'));
    } catch (problem) {
      say(wrong, problem.message);
    }
    return null;
  });
  return section(t('password.title'), form);
}

function tokens() {
  const list = h('ul', { class: 'rows', id: 'tokens' });
  const made = h('p', { class: 'token', role: 'status' });
  const name = h('input', { required: true, maxlength: 64, pattern: '[A-Za-z0-9_\\-]{1,64}', spellcheck: 'false' });
  let scope = 'read';
  const look = async () => {
    const all = await attempt(() => get('/tokens'));
    if (all) fill(list, all.map(token));
  };
  const token = (each) =>
    h(
      'li',
      { class: 'output' },
      h(
        'div',
        { class: 'what' },
        h('strong', {}, each.name),
        h('span', {}, t(`scope.${each.scope}`)),
        h('small', {}, each.created ? when(each.created) : ''),
      ),
      button(
        t('tokens.remove'),
        async () => {
          await attempt(() => remove(`/tokens/${part(each.name)}`), t('done'));
          look();
        },
        { 'aria-label': `${t('tokens.remove')}: ${each.name}` },
      ),
    );
  const form = h(
    'form',
    { class: 'row' },
    field(t('tokens.name'), name),
    field(
      t('tokens.scope'),
      choice(
        SCOPES.map((each) => [each, t(`scope.${each}`)]),
        scope,
        (chosen) => {
          scope = chosen;
        },
      ),
    ),
    h('button', { type: 'submit' }, t('tokens.make')),
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const told = await attempt(() => post('/tokens', { name: name.value, scope }));
    if (!told) return;
    fill(made, t('tokens.once'), ' ', h('code', {}, told.token));
    form.reset();
    look();
  });
  look();
  return section(t('tokens.title'), h('p', { class: 'hint' }, t('tokens.why')), list, form, made);
}
