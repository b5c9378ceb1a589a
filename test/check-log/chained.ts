import { jetstream } from '@nats-io/jetstream';
import { decodeChained } from '../../core/message.ts';
import { nativeHasher as _unused } from '../../infra/hash.ts';
