// Which charts have a line or points in them, in their order: neither axes nor grid have a colour.

const coloured = ([r, g, b, a]) => a > 200 && Math.max(r, g, b) - Math.min(r, g, b) > 60;

return [...document.querySelectorAll("canvas")].map((canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let at = 0; at < data.length; at += 4) count += coloured(data.subarray(at, at + 4));
  return count > 20;
});
