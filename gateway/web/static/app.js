// The page: who is there, what is to be seen, and the frame around it.

import { authorise, get, remove } from './api.js';
import { recolour } from './charts.js';
import { button, fill, h, say } from './dom.js';
import { preferred, speak, spoken, t } from './i18n.js';
import { judge } from './trust.js';
import { login } from './login.js';
import { session } from './session.js';
import { begin, end, hear, result, store } from './store.js';

const VIEWS = [
  'live',
  'history',
  'signal',
  'alerts',
  'outputs',
  'actions',
  'calibrate',
  'configuration',
  'doctor',
  'log',
  'settings',
];

let leave = () => {};
let shown = '';
let turn = 0;

dress(localStorage.getItem('theme') ?? 'auto');
await speak(preferred());
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', recolour);
addEventListener('hashchange', () => route());
await enter();

/** Ask who is there, then show the page or the door; the door as well where a guest wants in. */
async function enter({ door = false } = {}) {
  turn++;
  leave();
  end();
  shown = '';
  leave = () => {};
  try {
    Object.assign(session, await get('/session'));
    authorise(session.csrf, enter);
    if (door || !session.scope || session.setup) return fill(document.body, login(enter));
    await begin();
  } catch (problem) {
    return fill(
      document.body,
      h(
        'main',
        { class: 'door' },
        h('h1', {}, t('title')),
        h('p', { role: 'alert' }, problem.message),
        button(t('again'), enter),
      ),
    );
  }
  frame();
  return route();
}

/** Change the language; all is made anew. */
async function speaks(name) {
  await speak(name);
  await enter();
}

/** Light, dark, or as the machine has it. */
function dress(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem('theme', theme);
  recolour();
}

/** Leave. */
async function goodbye() {
  await remove('/session');
  await enter();
}

function frame() {
  const name = store.box.name || store.box.box;
  const links = VIEWS.map((view) => h('a', { href: `#/${view}`, id: `to-${view}` }, t(`view.${view}`)));
  const nav = h('nav', { id: 'views', 'aria-label': t('views') }, links);
  const menu = button(t('menu'), () => open(nav.classList.toggle('open')), {
    class: 'menu',
    'aria-expanded': 'false',
    'aria-controls': 'views',
  });
  const open = (is) => menu.setAttribute('aria-expanded', String(is));
  const close = () => {
    nav.classList.remove('open');
    open(false);
  };
  nav.addEventListener('click', close);
  nav.addEventListener('keydown', (event) => event.key === 'Escape' && close());
  const glance = h('a', { class: 'glance', href: '#/live', id: 'glance' });
  const lost = h('p', { class: 'lost', role: 'alert' });
  const header = h('header', {}, menu, h('span', { class: 'box' }, name), glance);
  const skip = h(
    'a',
    {
      class: 'skip',
      href: '#main',
      on: {
        click: (event) => {
          event.preventDefault();
          document.getElementById('main').focus();
        },
      },
    },
    t('skip'),
  );
  fill(
    document.body,
    skip,
    header,
    lost,
    h('div', { class: 'page' }, nav, h('main', { id: 'main', tabindex: '-1' })),
    h('div', { id: 'answers', role: 'status', 'aria-live': 'polite' }),
  );
  look(glance, lost);
}

/** The first gas in the header of every view, and whether there is a connection. */
function look(glance, lost) {
  const gas = store.box.gases[0];
  const renew = () => {
    if (!store.state || !glance.isConnected) return;
    const found = judge(gas && result(gas.node));
    glance.className = `glance ${found.level}`;
    say(glance, found.level === 'none' ? t('trust.none') : `${found.text} ${gas.unit}`);
    const raised = store.state.alerts.filter((alert) => !alert.acknowledged).length;
    say(document.getElementById('to-alerts'), t('view.alerts') + (raised ? ` (${raised})` : ''));
    say(lost, store.connected || !heard ? '' : t('connection.lost'));
  };
  let heard = false;
  hear('connection', (is) => {
    heard ||= is;
    renew();
  });
  hear('state', renew);
  hear('measurement', renew);
  const timer = setInterval(() => (glance.isConnected ? renew() : clearInterval(timer)), 1000);
  renew();
}

/** Show the view that the address names. */
async function route() {
  const main = document.getElementById('main');
  if (!main) return;
  const asked = location.hash.replace(/^#\//, '').split('?')[0];
  const view = VIEWS.includes(asked) ? asked : 'live';
  const mine = ++turn;
  leave();
  leave = () => {};
  const module = await import(`./views/${view}.js`);
  if (mine !== turn) return;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.id === `to-${view}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${t(`view.${view}`)} · ${store.box.name || store.box.box}`;
  const body = h('div', { id: `view-${view}` });
  fill(main, h('h1', {}, t(`view.${view}`)), body);
  leave = module.show(body, { dress, speaks, leave: goodbye, knock: () => enter({ door: true }) }) ?? (() => {});
  if (shown && shown !== view) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
  shown = view;
  document.documentElement.dataset.view = view;
  document.documentElement.lang = spoken();
}
