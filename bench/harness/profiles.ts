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

/**
 * The default, 10 to 15 minutes for all rows and subjects of an everyday install. Once A B B A with longer measurements
 * takes less time than twice with shorter ones: a second of each measurement is starting, opening and checking.
 */
export const quick: Profile = { name: 'quick', rounds: 2, timed: 1.5, warm: 0.4 }

/** For figures to be quoted: about 45 minutes. */
export const full: Profile = { name: 'full', rounds: 4, timed: 1.5, warm: 0.4 }
