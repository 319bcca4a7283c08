// Numbers, ages and times as people read them.

import { spoken, t } from './i18n.js';

/** A number with so many decimals, in the language's own way, with a true minus sign. */
export function number(value, decimals = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const shape = { minimumFractionDigits: decimals, maximumFractionDigits: decimals, signDisplay: 'negative' };
  return new Intl.NumberFormat(spoken(), shape).format(value).replace('-', '−');
}

/** As many decimals as show two digits of an uncertainty (GUM 7.2.6). */
export const decimals = (doubt) => (doubt > 0 ? Math.min(9, Math.max(0, 1 - Math.floor(Math.log10(doubt)))) : 2);

/** A value with its uncertainty, both to the same decimal. */
export function pair(value, doubt) {
  if (!(doubt > 0)) return number(value, 2);
  return `${number(value, decimals(doubt))} ± ${number(doubt, decimals(doubt))}`;
}

/** So many significant digits, in powers of ten where that is shorter. */
export function significant(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-3 || size >= 1e6)) {
    const [mantissa, power] = value.toExponential(digits - 1).split('e');
    return `${number(Number(mantissa), digits - 1)} · 10${raised(Number(power))}`;
  }
  const whole = size > 0 ? Math.floor(Math.log10(size)) + 1 : 1;
  return number(value, Math.max(0, digits - whole));
}

const raised = (power) => String(power).replace(/./g, (digit) => (digit === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]));

/** A time span in seconds, in words. */
export function span(seconds) {
  if (seconds < 9.95) return t('span.seconds', { n: number(Math.max(0, seconds), 1) });
  if (seconds < 99.5) return t('span.seconds', { n: number(seconds) });
  if (seconds < 5970) return t('span.minutes', { n: number(seconds / 60) });
  if (seconds < 171000) return t('span.hours', { n: number(seconds / 3600) });
  return t('span.days', { n: number(seconds / 86400) });
}

/** Date and time of day of an ISO time, here. */
export function when(iso) {
  return iso
    ? new Date(iso).toLocaleString(spoken(), { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' })
    : '–';
}
