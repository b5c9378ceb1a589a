import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

/** Imports point one way: what a folder may use beside itself (docs/architecture.md). */
const MAY_IMPORT = {
  core: [],
  infra: ['core'],
  control: ['core', 'infra'],
  ingest: ['core', 'infra', 'control'],
  pipeline: ['core', 'infra', 'control'],
  query: ['core', 'infra', 'control'],
  anchor: ['core', 'infra', 'control'],
  witness: ['core', 'infra'],
  cli: ['core', 'infra', 'control', 'ingest', 'pipeline', 'query', 'anchor', 'witness'],
  sdk: ['core'],
  web: ['core', 'sdk'],
} as const satisfies Record<string, readonly string[]>;

/** All that infra may know of core: it connects to outside systems and knows no rule of the domain. */
const CORE_FOR_INFRA = ['core/ed25519.ts', 'core/errors.ts', 'core/hash.ts', 'core/time.ts'];

/** All that core may know of the world, so that it runs wherever JavaScript does. */
const PACKAGES_FOR_CORE = /^@noble\/(hashes|curves)\/[\w-]+\.js$/;

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

interface Import {
  /** Path from the root of the repository. */
  file: string;
  /** As written: a path or a package. */
  specifier: string;
}

/** The first folder of what is imported; undefined for a package. */
function folderOf({ file, specifier }: Import): string | undefined {
  return pathOf({ file, specifier })?.split('/')[0];
}

function pathOf({ file, specifier }: Import): string | undefined {
  return specifier.startsWith('.') ? normalize(join(dirname(file), specifier)) : undefined;
}

function importsOf(folder: string, isWanted: (file: string) => boolean): Import[] {
  return sourcesIn(folder)
    .filter(isWanted)
    .flatMap((file) =>
      specifiersIn(readFileSync(join(ROOT, file), 'utf8')).map((specifier) => ({ file, specifier })),
    );
}

function sourcesIn(folder: string): string[] {
  const entries = readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\.(ts|tsx|mjs)$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((file) => !file.includes('node_modules'));
}

const SPECIFIER =
  /^\s*(?:import|export|\})[^'"\n]*?\bfrom\s+'([^']+)'|^\s*import\s+'([^']+)'|\bimport\(\s*'([^']+)'/gm;

function specifiersIn(source: string): string[] {
  return [...source.matchAll(SPECIFIER)].map((match) => match[1] ?? match[2] ?? match[3] ?? '');
}

/** Tests, and what only they use, may reach wherever they like. */
function isProduct(file: string): boolean {
  return !file.endsWith('.test.ts') && !file.includes('/testing/');
}

const present = readdirSync(ROOT);

describe.each(Object.entries(MAY_IMPORT).filter(([folder]) => present.includes(folder)))(
  '%s',
  (folder, others) => {
    const imports = importsOf(folder, isProduct);

    test(`imports ${['itself', ...others].join(', ')}, and packages`, () => {
      const allowed = [folder, ...others];
      const wrong = imports.filter((one) => !allowed.includes(folderOf(one) ?? folder));
      expect(wrong).toEqual([]);
    });

    test('imports files of ours by their whole name', () => {
      expect(
        imports.filter((one) => pathOf(one) !== undefined && !/\.(ts|mjs|json)$/.test(one.specifier)),
      ).toEqual([]);
    });
  },
);

test('core uses two packages and nothing else', () => {
  const wrong = importsOf('core', isProduct)
    .filter((one) => pathOf(one) === undefined)
    .filter((one) => !PACKAGES_FOR_CORE.test(one.specifier));
  expect(wrong).toEqual([]);
});

test('the tests of core run in a browser: no Node there either', () => {
  const wrong = importsOf('core', (file) => file.endsWith('.test.ts'))
    .filter((one) => pathOf(one) === undefined)
    .filter((one) => one.specifier !== 'vitest');
  expect(wrong).toEqual([]);
});

test('infra knows no rule of the domain', () => {
  const wrong = importsOf('infra', isProduct)
    .filter((one) => folderOf(one) === 'core')
    .filter((one) => !CORE_FOR_INFRA.includes(pathOf(one) ?? ''));
  expect(wrong).toEqual([]);
});

test('what the product imports is among its dependencies', () => {
  const manifest: unknown = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  const dependencies = Object.keys(Object(Object(manifest).dependencies));
  const wrong = Object.keys(MAY_IMPORT)
    .filter((folder) => ['sdk', 'web'].every((other) => other !== folder) && present.includes(folder))
    .flatMap((folder) => importsOf(folder, isProduct))
    .filter((one) => pathOf(one) === undefined && !one.specifier.startsWith('node:'))
    .filter(
      (one) => !dependencies.some((name) => one.specifier === name || one.specifier.startsWith(`${name}/`)),
    );
  expect(wrong).toEqual([]);
});

test('the way imports are found misses none of their forms', () => {
  const source = [
    "import a from 'a';",
    "import { b } from './b.ts';",
    "import type { c } from 'c';",
    'import {',
    '  d,',
    "} from 'd';",
    "import * as e from 'e';",
    "import 'f';",
    "export * from 'g';",
    "export { h } from 'h';",
    "const i = await import('i');",
    "import j from './j.json' with { type: 'json' };",
  ].join('\n');
  expect(specifiersIn(source)).toEqual(['a', './b.ts', 'c', 'd', 'e', 'f', 'g', 'h', 'i', './j.json']);
});
