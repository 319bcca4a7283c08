// Words: a flat dictionary per language, of the same keys. What the box itself says (reasons, faults) stays as it is.

export const LANGUAGES = { en: 'English', fr: 'Français' };

let words = {};
let language = 'en';

/** The language that was chosen here before, else the browser's if there is one of it, else English. */
export function preferred() {
  const wishes = [localStorage.getItem('language'), ...navigator.languages.map((name) => name.slice(0, 2))];
  return wishes.find((name) => name in LANGUAGES) ?? 'en';
}

/** Take a language's words; everything that is made from now on is in it. */
export async function speak(name) {
  words = await (await fetch(`/${name}.json`)).json();
  language = name;
  localStorage.setItem('language', name);
  document.documentElement.lang = name;
}

/** The language now. */
export const spoken = () => language;

/** The words for a key, {name} replaced by values. */
export function t(key, values = {}) {
  const text = words[key];
  if (text === undefined) throw new Error(`no words for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** The words for `prefix.name`; the name itself, or `otherwise`, where the box says what this page does not know. */
export const known = (prefix, name, otherwise = name) => words[`${prefix}.${name}`] ?? otherwise;
