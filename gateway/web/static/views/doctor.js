// The doctor: what this box has and lacks, each with its remedy.

import { get } from '../api.js';
import { button, fill, h, section } from '../dom.js';
import { known, t } from '../i18n.js';
import { attempt } from '../session.js';

/** See app.js. */
export function show(view) {
  const place = h('div', { id: 'findings' });
  const ask = button(t('doctor.ask'), () => look(), { class: 'main', id: 'ask-doctor' });
  const told = h('p', { role: 'status' });
  let over = false;
  const look = async () => {
    ask.disabled = true;
    told.textContent = t('doctor.looks');
    const found = await attempt(() => get('/doctor'));
    ask.disabled = false;
    if (over || !found) {
      told.textContent = '';
      return;
    }
    told.textContent = sum(found);
    fill(place, groups(found));
  };
  view.append(h('p', { class: 'hint' }, t('doctor.why')), h('p', {}, ask), told, place);
  look();
  return () => {
    over = true;
  };
}

function sum(checks) {
  const count = (state) => checks.filter((check) => check.state === state).length;
  return t('doctor.sum', { missing: count('missing'), warning: count('warning') });
}

function groups(checks) {
  const names = [...new Set(checks.map((check) => check.group))];
  return names.map((name) =>
    section(
      known('group', name),
      h(
        'ul',
        { class: 'findings' },
        checks
          .filter((check) => check.group === name)
          .map((check) =>
            h(
              'li',
              { class: check.state.replace(' ', '-') },
              h('span', { class: 'mark' }, t(`finding.${check.state}`)),
              h(
                'div',
                {},
                h('strong', {}, check.name),
                h('span', {}, check.found),
                check.remedy ? h('small', {}, `→ ${check.remedy}`) : null,
              ),
            ),
          ),
      ),
    ),
  );
}
