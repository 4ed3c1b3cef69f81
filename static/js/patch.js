/** Bring a part of the document up to date without touching what did not change. */

/**
 * Make the children of `old` equal to those of `fresh`, which is used up. Text that only grew at its end costs next to
 * nothing, a selection in the unchanged part survives, and the browser lays out only what is new.
 * @param {ParentNode & Node} old
 * @param {ParentNode & Node} fresh
 */
export function patch(old, fresh) {
  let before = old.firstChild;
  let after = fresh.firstChild;
  while (before && after && before.isEqualNode(after)) {
    before = before.nextSibling;
    after = after.nextSibling;
  }
  if (before && after && alike(before, after)) {
    const [nextBefore, nextAfter] = [before.nextSibling, after.nextSibling];
    if (before instanceof CharacterData) before.data = after.data;
    else patch(before, after);
    [before, after] = [nextBefore, nextAfter];
  }
  while (before) {
    const next = before.nextSibling;
    before.remove();
    before = next;
  }
  while (after) {
    const next = after.nextSibling;
    old.appendChild(after);
    after = next;
  }
}

/** The same kind of node with the same attributes. */
function alike(before, after) {
  if (before instanceof Text) return after instanceof Text;
  return before.cloneNode(false).isEqualNode(after.cloneNode(false));
}
