// Elements, made by hand. Text only ever becomes a text node: nothing that the box tells is read as HTML.

/** An element. `props`: `class`, `on` (event: function), attributes; false and null leave an attribute out, true gives
 *  it without a value; `value`, `checked` and `disabled` are properties. Children: nodes, texts, lists, null. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === 'on') {
      for (const [event, heard] of Object.entries(value)) element.addEventListener(event, heard);
    } else if (name === 'value' || name === 'checked' || name === 'disabled') {
      element[name] = value;
    } else if (value === true) {
      element.setAttribute(name, '');
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Replace what is in an element. */
export function fill(element, ...children) {
  element.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Set an element's text, only where it is another: what a screen reader announces is announced once. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A button. */
export function button(text, pressed, props = {}) {
  return h('button', { type: 'button', ...props, on: { click: pressed } }, text);
}

/** A label with its input, and a hint beneath. */
export function field(label, input, hint = '') {
  if (!input.id) input.id = `field-${(field.count = (field.count ?? 0) + 1)}`;
  const told = hint ? h('small', { id: `${input.id}-hint` }, hint) : null;
  if (told) input.setAttribute('aria-describedby', told.id);
  return h('div', { class: 'field' }, h('label', { for: input.id }, label), input, told);
}

/** A choice among `options`: [value, text]. */
export function choice(options, chosen, changed) {
  const made = options.map(([value, text]) => h('option', { value, selected: value === chosen }, text));
  return h('select', { on: { change: (event) => changed(event.target.value) } }, made);
}

/** A section with a heading. */
export function section(title, ...children) {
  return h('section', { class: 'card' }, h('h2', {}, title), children);
}

/** Terms with what is to be said of each: [term, text or node]; those without a text are left out. */
export function facts(pairs) {
  const told = pairs.filter(([, text]) => text !== '' && text !== null && text !== undefined);
  return h(
    'dl',
    { class: 'facts' },
    told.map(([term, text]) => h('div', {}, h('dt', {}, term), h('dd', {}, text))),
  );
}

/** Make an element's content anew only where `facts` (what JSON can say) are others: what has the focus keeps it. */
export function kept(element, facts, make) {
  const told = JSON.stringify(facts);
  if (element.dataset.told === told) return;
  element.dataset.told = told;
  fill(element, make());
}
