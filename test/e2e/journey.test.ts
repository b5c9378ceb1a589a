import { startStack } from '../support/stack.ts';
import { describeJourney } from './journey.ts';

describeJourney('the journey on the embedded stack', async () => {
  const stack = await startStack();
  return {
    baseUrl: stack.baseUrl,
    workspaceId: stack.workspaceId,
    apiKey: stack.apiKey,
    clickhouseAdminUrl: stack.clickhouseUrls.admin,
    stop: async () => {
      await stack.stop();
    },
  };
});
