import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { findChromium } from './test/support/chromium.ts';

const chromium = findChromium();

/** What needs a running server, a child process or a browser has a project of its own; the rest is `unit`. */
const integration = ['**/*.integration.test.ts', 'test/contract/**/*.test.ts', 'test/e2e/**/*.test.ts'];
const fault = ['test/fault/**/*.test.ts'];
const ignored = ['node_modules/**', 'dist/**', '.immutable/**', 'data/**'];

/** With many more runs (`npm run test:fuzz`) a property takes what it takes. */
const propertyTimeoutMs = process.env.PROPERTY_FACTOR === undefined ? undefined : 3_600_000;

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['**/*.test.ts'],
          exclude: [...ignored, ...integration, ...fault],
          testTimeout: propertyTimeoutMs ?? 5_000,
        },
      },
      {
        test: {
          name: 'integration',
          sequence: { groupOrder: 1 },
          include: integration,
          exclude: ignored,
          testTimeout: propertyTimeoutMs ?? 60_000,
          hookTimeout: 60_000,
          maxWorkers: 2,
        },
      },
      {
        test: {
          name: 'fault',
          sequence: { groupOrder: 2 },
          include: fault,
          exclude: ignored,
          testTimeout: 600_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'browser',
          sequence: { groupOrder: 3 },
          include: ['core/**/*.test.ts'],
          exclude: ignored,
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            instances: [{ browser: 'chromium' }],
            provider: playwright({
              launchOptions: {
                ...(chromium === undefined ? {} : { executablePath: chromium }),
                args: [
                  '--no-sandbox',
                  '--disable-gpu',
                  '--disable-quic',
                  '--no-first-run',
                  '--disable-background-networking',
                  '--disable-component-update',
                  '--disable-sync',
                ],
              },
            }),
          },
        },
      },
    ],
  },
});
