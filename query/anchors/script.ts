import { ANCHORED_TOPIC, BLOCK_OF_SELECTOR } from '../../core/on-chain.ts';
import { checkpointOf } from './check.ts';
import { publicRpc } from './present.ts';
import type { AnchorRow } from './sql.ts';

/** What `CHECK` works with, as assignments of the shell; null where the anchor is in no block, or cannot be read. */
export function scriptValues(row: AnchorRow): string | null {
  const checkpoint = checkpointOf(row);
  if (checkpoint === null || row.batch.block_hash === '') return null;
  const { batch } = row;
  return [
    ['rpc', publicRpc(batch.chain_id) ?? 'the address of a node of this chain'],
    ['chain_id', String(batch.chain_id)],
    ['contract', batch.contract],
    ['tx_hash', batch.tx_hash],
    ['block_number', String(batch.block_number)],
    ['checkpoint', checkpoint.text.trimEnd()],
    ['anchor_root', row.anchor_root],
    ['leaf_index', String(row.leaf_index)],
    ['tree_size', String(row.tree_size)],
    ['path', row.path.join(' ')],
  ]
    .map(([name = '', value = '']) => `${name}=${quoted(value)}`)
    .join('\n');
}

function quoted(value: string): string {
  return `'${value.replaceAll("'", "'\\''")}'`;
}

/**
 * The check that docs/verify-on-chain.md explains, step by step, and that a test runs against a chain. It believes
 * nothing that the endpoint says but by comparing it, and gives none of it to the shell to be run; nor of the values, of which
 * whoever made them might be no friend: `$(( ))` of some shells runs a text that is no number.
 */
export const CHECK = String.raw`set -eu
fail() { echo "WRONG: $1"; exit 1; }
sha256() { sha256sum | cut -c 1-64; }
ask() { curl -sS --max-time 30 -H 'Content-Type: application/json' -d "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"$1\",\"params\":$2}" "$rpc" | tr -d ' \n'; }
member() { grep -o "\"$1\":\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }
number() { case "$2" in '' | *[!0-9]*) fail "$1 is no number" ;; esac; }
number chain_id "$chain_id"
number block_number "$block_number"
number leaf_index "$leaf_index"
number tree_size "$tree_size"
block=$(printf '0x%x' "$block_number")

# 1. The checkpoint is one of those under the anchor root: from the leaf up to the root.
node() { printf '01%s%s' "$1" "$2" | xxd -r -p | sha256; }
hash=$({ printf '00' | xxd -r -p; printf '%s\n' "$checkpoint"; } | sha256)
index=$leaf_index
last=$((tree_size - 1))
for neighbour in $path; do
  [ "$last" != 0 ] || fail 'the path does not lead to the root'
  if [ $((index % 2)) = 1 ] || [ "$index" = "$last" ]; then
    hash=$(node "$neighbour" "$hash")
    while [ $((index % 2)) = 0 ] && [ "$index" != 0 ]; do index=$((index / 2)); last=$((last / 2)); done
  else
    hash=$(node "$hash" "$neighbour")
  fi
  index=$((index / 2))
  last=$((last / 2))
done
[ "$last" = 0 ] && [ "$hash" = "$anchor_root" ] || fail 'the path does not lead to the root'

# 2. The node speaks for the right chain.
chain=$(ask eth_chainId '[]' | member result)
[ -n "$chain" ] || fail 'the node does not answer'
[ "$chain" = "$(printf '0x%x' "$chain_id")" ] || fail 'this is another chain'

# 3. The receipt of the transaction has the log: by this contract, Anchored(bytes32,uint256), with this root.
event='${ANCHORED_TOPIC}'
log=$(ask eth_getTransactionReceipt "[\"$tx_hash\"]" | grep -o '{[^{}]*}' \
  | grep -iF "\"address\":\"$contract\"" | grep -iF "\"topics\":[\"$event\",\"0x$anchor_root\"]") || fail 'the transaction has no such log'
[ "$(printf '%s' "$log" | member blockNumber)" = "$block" ] || fail 'it is in another block'

# 4. That block is the one which the chain has at this number, and its time is the one that the log tells.
header=$(ask eth_getBlockByNumber "[\"$block\",false]")
[ "$(printf '%s' "$header" | member hash)" = "$(printf '%s' "$log" | member blockHash)" ] || fail 'the block is not part of the chain'
time=$(printf '%d' "$(printf '%s' "$header" | member timestamp)")
[ "$(printf '%s' "$log" | member data)" = "$(printf '0x%064x' "$time")" ] || fail 'the time is another'

# 5. The contract itself says the same.
[ "$(ask eth_call "[{\"to\":\"$contract\",\"data\":\"${BLOCK_OF_SELECTOR}$anchor_root\"},\"latest\"]" | member result)" = "$(printf '0x%064x' "$block_number")" ] || fail 'the contract says otherwise'

# 6. How far the chain has gone on since: what it calls safe is not expected to be taken back.
safe=$(printf '%d' "$(ask eth_getBlockByNumber '["safe",false]' | member number)" 2> /dev/null) || safe=0
[ "$safe" -ge "$block_number" ] && finality='which is safe' || finality='WHICH MAY STILL BE TAKEN BACK'

echo "Root $anchor_root was written into block $block_number, $finality, at $(date -u -d "@$time" 2> /dev/null || date -u -r "$time")."`;
