/** What a workspace may have. `null`: as much as there is room for. */
export interface PlanLimits {
  requestsPerMinute: number | null;
  eventsPerMonth: number | null;
  /** For how long events are kept, unless the workspace says otherwise. */
  retentionDays: number | null;
  apiKeys: number | null;
  alertRules: number | null;
  logStreams: number | null;
  schemas: number | null;
  ipAllowlistEntries: number | null;
}

/** Of all these, only the retention (retention.ts) and the alert rules are enforced now; the others wait for what they limit. */
export const PLANS = {
  free: {
    requestsPerMinute: 60,
    eventsPerMonth: 10_000,
    retentionDays: 30,
    apiKeys: 2,
    alertRules: 2,
    logStreams: 1,
    schemas: 5,
    ipAllowlistEntries: 2,
  },
  starter: {
    requestsPerMinute: 300,
    eventsPerMonth: 100_000,
    retentionDays: 90,
    apiKeys: 5,
    alertRules: 10,
    logStreams: 3,
    schemas: 15,
    ipAllowlistEntries: 10,
  },
  pro: {
    requestsPerMinute: 1_000,
    eventsPerMonth: 1_000_000,
    retentionDays: 365,
    apiKeys: 20,
    alertRules: 50,
    logStreams: 10,
    schemas: 50,
    ipAllowlistEntries: 50,
  },
  enterprise: {
    requestsPerMinute: null,
    eventsPerMonth: null,
    retentionDays: null,
    apiKeys: null,
    alertRules: null,
    logStreams: null,
    schemas: null,
    ipAllowlistEntries: null,
  },
} as const satisfies Record<string, PlanLimits>;

export type Plan = keyof typeof PLANS;

export const PLAN_NAMES = ['free', 'starter', 'pro', 'enterprise'] as const satisfies readonly Plan[];

/** What a workspace begins with, where nobody says otherwise: an installation of one's own. */
export const DEFAULT_PLAN: Plan = 'enterprise';
