// Whether a value can be trusted. There is one place for this, and every view asks it: a number that is stale or
// invalid is never shown, only the reason.

import { pair, span } from './format.js';
import { known, t } from './i18n.js';
import { ageOf, intervalOf } from './store.js';

const LATEST_S = 5;

/** Values older than this are no values any more: three records and the way, but not less than five seconds. */
export const latest = (measurement) => Math.max(LATEST_S, 3 * intervalOf(measurement) + 2);

/** `level`: trusted, doubted (valid, with flags) or none; `text`: value ± u95, or ''; `reasons`: in words. */
export function judge(measurement) {
  if (!measurement) return { level: 'none', text: '', reasons: [t('trust.waiting')], age: null };
  const age = ageOf(measurement);
  if (age > latest(measurement)) {
    return { level: 'none', text: '', reasons: [t('trust.silent', { span: span(age) })], age };
  }
  const reasons = measurement.flags.map((flag) => known('flag', flag));
  if (!measurement.valid || measurement.ppm === null) {
    return { level: 'none', text: '', reasons: reasons.length ? reasons : [t('trust.invalid')], age };
  }
  const text = pair(measurement.ppm, measurement.u95_ppm);
  return { level: reasons.length ? 'doubted' : 'trusted', text, reasons, age };
}
