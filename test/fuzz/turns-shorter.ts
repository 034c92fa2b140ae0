/** Looks for the shortest story of turns that fails as a given one does. */
import type { Plan, Session, Step } from './turns-plan.ts'

// Stories that are tried; each takes some ten milliseconds.
const TRIES = 400

/** Leaves out of a plan what can be left out, as long as what is left fails. */
export async function shortest(plan: Plan, fails: (plan: Plan) => Promise<boolean>): Promise<Plan> {
  let tries = TRIES
  for (let found = true; found; ) {
    found = false
    for (const shorter of shorterPlans(plan)) {
      if (tries-- === 0) return plan
      if (!(await fails(shorter))) continue
      plan = shorter
      found = true
      break
    }
  }
  return plan
}

/** Plans that are a little shorter, those that are much shorter first. */
function* shorterPlans(plan: Plan): Generator<Plan> {
  const { sessions } = plan
  for (const i of sessions.keys()) yield { ...plan, sessions: sessions.toSpliced(i, 1) }
  for (const [i, session] of sessions.entries()) {
    for (const shorter of shorterSessions(session)) {
      yield { ...plan, sessions: sessions.with(i, shorter) }
    }
  }
}

function* shorterSessions(session: Session): Generator<Session> {
  const { steps } = session
  if (session.overwrite) yield { ...session, overwrite: false }
  if (session.killed !== null) yield { ...session, killed: null }
  for (const i of steps.keys()) yield { ...session, steps: steps.toSpliced(i, 1) }
  for (const [i, step] of steps.entries()) {
    for (const shorter of shorterSteps(step)) yield { ...session, steps: steps.with(i, shorter) }
  }
}

function* shorterSteps(step: Step): Generator<Step> {
  if (step.what === 'append') {
    const { calls } = step
    if (calls.length > 1) for (const i of calls.keys()) yield { ...step, calls: calls.toSpliced(i, 1) }
    for (const [i, blocks] of calls.entries()) {
      for (const count of new Set([blocks.length >> 1, blocks.length - 1])) {
        if (count > 0) yield { ...step, calls: calls.with(i, blocks.slice(0, count)) }
      }
    }
  }
  if (step.what === 'clear' && step.end > step.start + 1) yield { ...step, end: step.end - 1 }
}
