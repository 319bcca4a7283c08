// The box's HTTP API (docs/api.md). Every refusal becomes a Problem with one sentence for people.

import { t } from './i18n.js';

const BASE = '/api/v1';
let csrf = '';
let expired = () => {};

/** What the box refused, or that it did not answer (status 0). */
export class Problem extends Error {
  constructor(status, detail, faults = []) {
    super(detail);
    this.status = status;
    this.faults = faults;
  }
}

/** Remember the session's token, and who is to be told when the session is over. */
export function authorise(token, over) {
  csrf = token ?? '';
  expired = over;
}

/** Ask the box; what it answers, as JSON. Raises Problem. */
export async function ask(method, path, body = undefined) {
  const headers = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET') headers['X-CSRF-Token'] = csrf;
  let answer;
  try {
    answer = await fetch(BASE + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
    });
  } catch {
    throw new Problem(0, t('error.unreachable'));
  }
  const text = await answer.text();
  const told = parsed(text);
  if (answer.ok) return told;
  if (answer.status === 401 && path !== '/session') expired();
  throw new Problem(answer.status, told?.detail ?? t('error.status', { status: answer.status }), told?.faults ?? []);
}

export const get = (path, query = {}) => {
  const words = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== '' && value !== null));
  return ask('GET', words.size ? `${path}?${words}` : path);
};
export const post = (path, body) => ask('POST', path, body);
export const put = (path, body) => ask('PUT', path, body);
export const remove = (path) => ask('DELETE', path);

/** Where a file is to be fetched from, for a link. */
export const address = (path, query) => `${BASE}${path}?${new URLSearchParams(query)}`;

/** Part of a path. */
export const part = encodeURIComponent;

/** The stream of events; the browser itself comes back after a break, unless the session is over. */
export const stream = () => new EventSource(`${BASE}/stream`);

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
