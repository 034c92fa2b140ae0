/** How long and how often a run measures. */
export interface Profile {
  readonly name: 'smoke' | 'quick' | 'full'
  /** Measurements of each row and subject. An even number balances the order A B B A. */
  readonly rounds: number
  /** Least seconds of timed work per measurement. */
  readonly timed: number
  /** Least seconds of warming up per measurement. */
  readonly warm: number
}

/** Everything, tiny: shows that the harness and all rows work. Its figures mean nothing. */
export const smoke: Profile = { name: 'smoke', rounds: 1, timed: 0.15, warm: 0.02 }

/** The default, a few minutes. */
export const quick: Profile = { name: 'quick', rounds: 4, timed: 0.6, warm: 0.2 }

/** For figures to be quoted. */
export const full: Profile = { name: 'full', rounds: 6, timed: 1.5, warm: 0.4 }
