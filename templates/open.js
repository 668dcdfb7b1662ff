// Opens what a link leads to, and the parts that it lies in: when the page is read, when the address changes, and when a link is
// followed to where the address is already.
"use strict";
function unfold() {
  let name = location.hash.slice(1);
  try {
    name = decodeURIComponent(name);
  } catch { /* as it is written */ }
  const there = document.getElementById(name);
  for (let one = there; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
  there?.scrollIntoView();
}
addEventListener("hashchange", unfold);
addEventListener("click", (event) => {
  if (event.target.closest?.("a")?.hash === location.hash && location.hash) setTimeout(unfold);
});
if (location.hash) unfold();
