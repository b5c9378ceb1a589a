import { expect, test } from 'vitest';
import { ClickHouseException, describeException } from './exception.ts';

test.each([
  [
    new Error('Query failed: Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)'),
    {
      code: 60,
      status: 404,
      text: 'Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE) (version 1.2)\n',
    },
  ],
  [
    new Error(
      'Code: 344. DB::Exception: Code: 344. DB::Exception: No. (SUPPORT_IS_DISABLED) (version 1.2). (SUPPORT_IS_DISABLED)',
    ),
    { code: 344, status: 500, text: 'Code: 344. DB::Exception: No. (SUPPORT_IS_DISABLED) (version 1.2)\n' },
  ],
  [
    new ClickHouseException('ACCESS_DENIED', 'no.'),
    { code: 497, status: 403, text: 'Code: 497. DB::Exception: no. (ACCESS_DENIED) (version 1.2)\n' },
  ],
  [
    new Error('something else'),
    {
      code: 1002,
      status: 500,
      text: 'Code: 1002. DB::Exception: something else (UNKNOWN_EXCEPTION) (version 1.2)\n',
    },
  ],
])('%s', (error, expected) => {
  expect(describeException(error, '1.2')).toEqual(expected);
});
