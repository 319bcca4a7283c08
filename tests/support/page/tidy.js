// Before a picture: no answer hangs over the page, some texts stand for others (pairs), and `at` is to be seen.

const [pairs, at] = arguments;
for (const told of document.querySelectorAll("#answers p")) told.remove();
const area = document.querySelector("textarea");
for (const [from, to] of pairs) {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) walker.currentNode.data = walker.currentNode.data.replaceAll(from, to);
  if (area) area.value = area.value.replaceAll(from, to);
}
if (at) document.querySelector(at).scrollIntoView();
else scrollTo(0, 0);
return new Promise((done) => setTimeout(done, 300));
