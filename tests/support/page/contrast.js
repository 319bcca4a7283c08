// The texts that are to be seen and whose contrast is below what WCAG 2 wants (AA, 1.4.3): [text, ratio, wanted].
// Grounds are laid over each other as the browser does it; what is disabled is exempt.

const parsed = (colour) => {
  const found = colour.match(/[\d.]+/g).map(Number);
  return [found[0], found[1], found[2], found[3] ?? 1];
};
const over = (top, ground) => [0, 1, 2].map((i) => top[i] * top[3] + ground[i] * (1 - top[3])).concat(1);
const luminance = (colour) => {
  const [r, g, b] = colour.slice(0, 3).map((part) => {
    const c = part / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (element) => {
  const chain = [];
  for (let each = element; each; each = each.parentElement) chain.unshift(parsed(getComputedStyle(each).backgroundColor));
  return chain.reduce((under, top) => over(top, under), [255, 255, 255, 1]);
};

const poor = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
  const element = node.parentElement;
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  if (!node.textContent.trim() || !element.checkVisibility() || box.width < 2 || element.closest(':disabled')) continue;
  const under = ground(element);
  const [a, b] = [luminance(over(parsed(style.color), under)), luminance(under)].sort((x, y) => y - x);
  const ratio = (a + 0.05) / (b + 0.05);
  const size = parseFloat(style.fontSize);
  const wanted = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
  if (ratio < wanted) poor.push([node.textContent.trim(), ratio, wanted]);
}
return poor;
