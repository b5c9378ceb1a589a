import { createHash } from 'node:crypto';
import { parseTimestamp } from '../../core/time.ts';
import { chainTitle, explorerUrl, isRehearsal } from './present.ts';
import { CHECK, scriptValues } from './script.ts';
import type { AnchorRow } from './sql.ts';

/**
 * What a person sees who was given the address of an anchor: an auditor, who need not know what a hash is. Written here as a
 * whole, without a script, and with a policy that lets none run.
 */

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6470; --line: #d9dee4; --paper: #fff; --panel: #f5f7f9; --link: #0b5bd3;
  --good: #12653a; --good-paper: #e3f5ea; --wait: #7a4b00; --wait-paper: #fdf1d8; --bad: #9d1c1c; --bad-paper: #fdeaea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --soft: #a3adb9; --line: #343b44; --paper: #14171b; --panel: #1d2127;
  --link: #7fb2ff; --good: #7fd9a4; --good-paper: #12301f; --wait: #f2c572; --wait-paper: #38290c; --bad: #ff9c9c; --bad-paper: #3d1717; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2rem 1.1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .8rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; }
a { color: var(--link); }
p { margin: .6rem 0; }
code, pre { font-family: ui-monospace, 'SF Mono', Menlo, Consolas, monospace; font-size: .84rem; }
code { overflow-wrap: anywhere; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; overflow-x: auto; line-height: 1.45; }
.state { display: block; border-radius: .4rem; padding: .7rem .9rem; margin: 1rem 0; }
.confirmed { background: var(--good-paper); color: var(--good); }
.pending, .submitted, .rehearsal { background: var(--wait-paper); color: var(--wait); }
.failed { background: var(--bad-paper); color: var(--bad); }
dl { margin: 0; border-top: 1px solid var(--line); }
dl div { display: grid; grid-template-columns: 12rem 1fr; gap: .1rem 1rem; padding: .55rem 0; border-bottom: 1px solid var(--line); }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 34rem) { dl div { grid-template-columns: 1fr; } main { padding-top: 1.2rem; } }
.soft { color: var(--soft); }
`;

const POLICY = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': POLICY,
  'x-content-type-options': 'nosniff',
  // The address is what lets one see the page: no other site is told.
  'referrer-policy': 'no-referrer',
  'x-robots-tag': 'noindex',
  'cache-control': 'no-cache',
};

/** A text that is markup already. */
interface Html {
  html: string;
}

/** Whatever stands between the texts of the page is escaped, unless it is markup of ours. */
function html(texts: TemplateStringsArray, ...values: (string | number | Html | Html[])[]): Html {
  const parts = values.map((value) => {
    if (Array.isArray(value)) return value.map((part) => part.html).join('');
    return typeof value === 'object' ? value.html : escaped(String(value));
  });
  return { html: texts.map((text, index) => text + (parts[index] ?? '')).join('') };
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escaped(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ESCAPES[character] ?? '');
}

const NOTHING: Html = { html: '' };

export function anchorPage(row: AnchorRow): string {
  const days = periodOf(row);
  return whole(
    `Audit log, ${days}`,
    html`<h1>Proof of an audit log: ${days}</h1>
${state(row)}
<p>An audit log records who did what, and when. Day by day, the state of this log is put into one number, its
<em>fingerprint</em>. Together with the fingerprints of other logs of the same operator it goes into one more number, the
<em>root</em>, and that is written into a public blockchain, where nobody can change it any more: not the operator of the log either.
If any of the events behind it were changed or removed afterwards, or others slipped in among them, fingerprint and root would be
others.</p>
<h2>What was recorded</h2>
<dl>
${entry('Period', html`${people(row.period_start)} to ${people(row.period_end)}`)}
${entry('Events in this period', amount(row.events_count))}
${entry('Events of the log up to then', amount(row.size))}
${entry('Fingerprint of the log (Merkle root)', html`<code>${row.merkle_root}</code>`)}
${entry('Number of this anchor', html`<code>${row.id}</code>`)}
</dl>
<h2>Where it is written</h2>
<dl>
${whereabouts(row)}
</dl>
${howToCheck(row)}
<h2>What this does not show</h2>
<p>That what an event says was true when it was recorded, or that nothing was left out before it was recorded. It shows that what was
recorded has not been changed since.</p>
<p class="soft">The page is made by the operator of the log. Believe the blockchain and your own check, not the page.</p>`,
  );
}

export function missingPage(): string {
  return whole(
    'No such anchor',
    html`<h1>There is no such anchor</h1>
<p>Nothing is known here under this address. Check that it is complete: it ends with <code>anc_</code> and 32 letters and digits.</p>`,
  );
}

function whole(title: string, content: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}</title>
<style>${{ html: STYLE }}</style>
</head>
<body>
<main>
${content}
</main>
</body>
</html>
`.html;
}

function entry(term: string, value: Html | string): Html {
  return html`<div><dt>${term}</dt><dd>${value}</dd></div>
`;
}

function state({ batch }: AnchorRow): Html {
  const why = batch.reason === '' ? '' : ` ${asSentence(batch.reason)}`;
  switch (batch.status) {
    case 'confirmed':
      if (isRehearsal(batch.chain_id))
        return html`<strong class="state rehearsal">A rehearsal: written into ${chainTitle(batch.chain_id)}, which proves nothing, on ${people(batch.block_time)}.</strong>`;
      return html`<strong class="state confirmed">On the chain: written into ${chainTitle(batch.chain_id)} on ${people(batch.block_time)}.</strong>`;
    case 'submitted':
      return html`<strong class="state submitted">Not yet on the chain: the transaction was sent and is not confirmed.${why}</strong>`;
    case 'failed':
      return html`<strong class="state failed">Not on the chain: the attempt to write it has failed.${why}</strong>`;
    default:
      return html`<strong class="state pending">Not yet on the chain: it waits to be written.${why}</strong>`;
  }
}

function whereabouts(row: AnchorRow): Html {
  const { batch } = row;
  const url = explorerUrl(batch.chain_id, batch.tx_hash);
  const transaction =
    url === null
      ? html`<code>${batch.tx_hash}</code>`
      : html`<a href="${url}" rel="noopener noreferrer"><code>${batch.tx_hash}</code></a>`;
  return html`${entry('Blockchain', batch.chain_id === 0 ? 'none was chosen yet' : `${chainTitle(batch.chain_id)} (chain id ${batch.chain_id})`)}
${batch.contract === '' ? NOTHING : entry('Contract', html`<code>${batch.contract}</code>`)}
${batch.tx_hash === '' ? NOTHING : entry('Transaction', transaction)}
${
  batch.block_hash === ''
    ? NOTHING
    : html`${entry('Block', amount(batch.block_number))}${entry('Time of the block', people(batch.block_time))}`
}
${entry('Root in the contract, of this and other logs', html`<code>0x${row.anchor_root}</code>`)}
${entry('Status', batch.status)}`;
}

function howToCheck(row: AnchorRow): Html {
  const values = scriptValues(row);
  const lead = html`<h2>Check it yourself</h2>
<p>You need not believe this page. If you have the evidence file of an event, <code>npx immutable verify evidence.json --policy policy</code>
checks it, where the file <code>policy</code> holds the key of the log, from somebody you trust; with <code>--rpc</code>,
<code>--chain-id</code> and <code>--contract</code> it asks the blockchain too.</p>`;
  if (values === null) {
    return html`${lead}
<p>Once it is on the chain, the commands to look it up will stand here.</p>`;
  }
  return html`${lead}
<p>With nothing but a shell, <code>curl</code>, <code>sha256sum</code> and <code>xxd</code>: save both boxes as <code>check.sh</code>, one below the
other, and run <code>sh check.sh</code>. The first holds the values of this anchor. <strong>Take chain and contract from somewhere
else</strong>, such as your contract with the operator, and compare them; and put the address of a node that you trust in
<code>rpc</code>.</p>
<pre>${values}</pre>
<pre>${CHECK}</pre>`;
}

/** One day by its date. */
function periodOf({ period_start, period_end }: AnchorRow): string {
  const last = new Date((parseTimestamp(period_end) ?? 0) / 1000 - 1).toISOString().slice(0, 10);
  const first = period_start.slice(0, 10);
  return first === last ? first : `${first} to ${last}`;
}

/** `2026-03-15 14:32:18 UTC` */
function people(time: string): string {
  return `${time.slice(0, 10)} ${time.slice(11, 19)} UTC`;
}

function amount(count: number): string {
  return count.toLocaleString('en');
}

function asSentence(reason: string): string {
  const text = reason.trim();
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}
