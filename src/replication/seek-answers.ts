/** What was asked in a seek. As long as none of it has changed, the same question would get the same answer. */
export interface SeekQuestion {
  /** The blocks among which the place was looked for; −1: no end is known, because the place lies beyond what is here. */
  readonly start: number
  readonly end: number
  /** Length of the feed here, and the one that the peer claimed. */
  readonly length: number
  readonly remoteLength: number
}

// Places remembered at a time; of more the oldest is forgotten, which costs a request at most.
const MOST_PLACES = 256

/**
 * How one peer has answered seeks. A hash that holds is an answer, also if it is of a block that nobody looked for: so it has to be
 * seen whether it helps. Any block of the range tells more about where the place is, whichever its remote has chosen. Who answers
 * with another one, or with what is known, would go on doing so as often as it is asked.
 */
export class SeekAnswers {
  /**
   * Its last answer did not help, or it has let somebody else answer in its place. Others are preferred, also for other places, until
   * it has helped.
   */
  poor = false
  // Answers for places that are not found yet, and what they were the answer to.
  private readonly places = new Map<number, { count: number; question: SeekQuestion }>()

  /** An answer was stored. `block`: what it was about; `length`: of the feed now. */
  answered(bytes: number, question: SeekQuestion, block: number, length: number): void {
    const { start, end } = question
    // Beyond the end an answer may be that there is nothing: no merit, and no fault.
    if (end !== -1) this.poor = block < start || block >= end
    else if (length > question.length) this.poor = false
    const count = 1 + this.count(bytes)
    this.places.delete(bytes)
    this.places.set(bytes, { count, question })
    if (this.places.size > MOST_PLACES) this.places.delete(this.places.keys().next().value!)
  }

  /** Answers for a place that did not find it. */
  count(bytes: number): number {
    return this.places.get(bytes)?.count ?? 0
  }

  /** Whether it has answered this question, and it is still open. */
  wasInVain(bytes: number, { start, end, length, remoteLength }: SeekQuestion): boolean {
    const before = this.places.get(bytes)?.question
    return (
      before !== undefined &&
      before.start === start &&
      before.end === end &&
      before.length === length &&
      before.remoteLength === remoteLength
    )
  }

  /** The place is found; `late`: somebody else had to be asked, as this peer has not answered in time. */
  found(bytes: number, late: boolean): void {
    if (late && !this.places.has(bytes)) this.poor = true
    this.places.delete(bytes)
  }

  /** Forgets places that nobody looks for any more. */
  keep(isSought: (bytes: number) => boolean): void {
    for (const bytes of this.places.keys()) if (!isSought(bytes)) this.places.delete(bytes)
  }
}
