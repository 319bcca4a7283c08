// What is known of the box now: its face, its newest state, the last ten minutes of values. Fed by one stream.
//
// Ages are told by the box's own clock: each state says when it was made, so a wrong clock here does no harm, and what
// passes since then is counted by this page's monotonic clock. A box that falls silent grows old on the screen.

import { get, stream } from './api.js';

export const RECENT_S = 600;
const MOST = 6000;
const AGAIN_MS = 3000;

export const store = { box: null, state: null, jobs: [], recent: new Map(), trend: [], connected: false };

const hearers = new Map();
let events = null;
let offset = null;
let retry = null;

/** Be told of `kind`: state, measurement, alert, job, log, connection. What is given back ends it. */
export function hear(kind, heard) {
  if (!hearers.has(kind)) hearers.set(kind, new Set());
  hearers.get(kind).add(heard);
  return () => hearers.get(kind).delete(heard);
}

/** Seconds since 1970 on the box's clock. */
export const now = () => (offset ?? Date.now() / 1e3 - performance.now() / 1e3) + performance.now() / 1e3;

/** Seconds since the end of a measurement's record. */
export const ageOf = (measurement) => Math.max(0, now() - Date.parse(measurement.time) / 1e3);

/** Seconds from one of its values to the next. */
export const intervalOf = (measurement) => store.state?.results[measurement.source]?.integration_s ?? 1;

/** The newest object of a node. */
export const result = (node) => store.state?.results[node] ?? null;

/** Begin: face, state, then the stream. Raises Problem. */
export async function begin() {
  [store.box, store.jobs] = await Promise.all([get('/box'), get('/jobs')]);
  renewed(await get('/state'));
  connect();
}

/** End: nobody hears anything any more. */
export function end() {
  events?.close();
  clearTimeout(retry);
  events = null;
  hearers.clear();
  Object.assign(store, { box: null, state: null, jobs: [], recent: new Map(), trend: [], connected: false });
}

/** Values of a node before those that came by themselves, from the journal: rows of /measurements. */
export function before(node, rows) {
  const values = store.recent.get(node) ?? [];
  const first = values.length ? values[0].at : Infinity;
  const older = rows.map((row) => ({ ...row, at: Date.parse(row.time) / 1e3 })).filter((row) => row.at < first - 0.05);
  store.recent.set(node, [...older, ...values]);
}

function connect() {
  events = stream();
  events.onopen = () => connection(true);
  events.onerror = () => {
    connection(false);
    if (events && events.readyState === EventSource.CLOSED) retry = setTimeout(again, AGAIN_MS);
  };
  listen('state', renewed);
  listen('measurement', measured);
  listen('job', (job) => {
    store.jobs = [...store.jobs.filter((other) => other.name !== job.name), job];
  });
  listen('alert');
  listen('log');
}

async function again() {
  try {
    renewed(await get('/state'));
    connect();
  } catch {
    retry = setTimeout(again, AGAIN_MS);
  }
}

function listen(kind, taken = () => {}) {
  events.addEventListener(kind, (event) => {
    const told = JSON.parse(event.data);
    taken(told);
    tell(kind, told);
  });
}

function renewed(state) {
  store.state = state;
  offset = state.status.utc_ns / 1e9 - performance.now() / 1e3;
  const at = now();
  const resonance = Object.values(state.results).find((each) => each.kind === 'resonance');
  const temperature = state.status.climate?.temperature_c?.value ?? null;
  store.trend.push({ at, f0_hz: resonance?.f0_hz ?? null, sigma_f0_hz: resonance?.sigma_f0_hz ?? null, temperature });
  if (store.trend.length > MOST) store.trend.shift();
}

function measured(measurement) {
  const at = Date.parse(measurement.time) / 1e3;
  const values = store.recent.get(measurement.node) ?? [];
  if (values.length && values.at(-1).at >= at) return;
  values.push({ ...measurement, at });
  while (values.length > MOST || values[0].at < at - RECENT_S) values.shift();
  store.recent.set(measurement.node, values);
  if (store.state) store.state.results[measurement.node] = measurement;
}

function connection(connected) {
  store.connected = connected;
  tell('connection', connected);
}

function tell(kind, told) {
  for (const heard of hearers.get(kind) ?? []) heard(told);
}
