import { createSlots, type Slots, type Visit } from './slots.ts';
import { ONE_WORKSPACE, USERS, type User, WORKSPACE_ANALYSTS } from './users.ts';

/** Where queries run or wait: each user has places of its own, and so have the analysts of single workspaces. */
export interface Places {
  /** Takes a place at once, or throws TOO_MANY_SIMULTANEOUS_QUERIES. */
  enter(user: User): Visit;
}

export function createPlaces(): Places {
  const byUser = new Map<string, Slots>(USERS.map((user) => [user.name, createSlots(user)]));
  const ofWorkspaceAnalysts = createSlots(WORKSPACE_ANALYSTS);
  const byWorkspace = new Map<string, Slots>();

  function enter(user: User): Visit {
    if (user.workspace !== undefined) return enterForWorkspace(user.workspace);
    const slots = byUser.get(user.name);
    if (slots === undefined) throw new Error(`no places for ${user.name}`);
    return slots.enter();
  }

  /** First a place among those of the workspace, then one among those of all: never the other way round, or its queue would fill the others'. */
  function enterForWorkspace(workspace: string): Visit {
    const own = byWorkspace.get(workspace) ?? createSlots(ONE_WORKSPACE);
    byWorkspace.set(workspace, own);
    const inner = own.enter();
    let shared: Visit | undefined;
    return {
      turn: async (signal) => {
        await inner.turn(signal);
        shared = ofWorkspaceAnalysts.enter();
        await shared.turn(signal);
      },
      leave: () => {
        shared?.leave();
        inner.leave();
        if (own.present === 0) byWorkspace.delete(workspace);
      },
    };
  }

  return { enter };
}
