// The first thing every command loads, written so that an old Node can read it too. Everything else is
// imported only after Node was found to be new enough.

export const MINIMUM_NODE = '20.19.0';

/** True when version `have` (`x.y.z`) is `least` or newer. */
export function atLeast(have, least) {
  const wanted = least.split('.').map(Number);
  const parts = have.split('.').map(Number);
  for (let i = 0; i < wanted.length; i++) {
    const part = i < parts.length ? parts[i] : 0;
    if (part !== wanted[i]) return part > wanted[i];
  }
  return true;
}

if (!atLeast(process.versions.node, MINIMUM_NODE)) {
  console.error(
    `Node ${process.versions.node} is too old: Immutable needs ${MINIMUM_NODE} or newer (20, 22 or 24).`,
  );
  console.error('Install one from https://nodejs.org or with your version manager, then start again.');
  process.exit(1);
}
