/** When a second thread is left alone because the processors are wanted by others. */
import test from 'tape'
import { Crowding } from '../../src/crypto/crowding.ts'

const MANY = 16

/** Processors, and a process whose threads are pushed off them as often as the test says. */
class Machine {
  time = 1_000
  /** How often somebody asked about the processors. */
  asked = 0
  private pushed = 0
  private left = 0
  private own = 0
  private all = 0
  readonly crowding: Crowding

  /** @param processors - how many there are; 0 where the system does not tell */
  constructor(processors = MANY) {
    this.crowding = new Crowding({
      usage: () => ({
        userCPUTime: 600 * this.own,
        systemCPUTime: 400 * this.own,
        involuntaryContextSwitches: this.pushed,
        voluntaryContextSwitches: this.left
      }),
      processors: () => {
        this.asked++
        const part = this.all / processors
        const times = { user: 0.6 * part, nice: 0.2 * part, sys: 0.1 * part, irq: 0.1 * part, idle: 0 }
        return new Array(processors).fill({ times })
      },
      now: () => this.time
    })
  }

  /** So much time passes, in which others use so many processors; answers whether it was crowded, asked every millisecond. */
  pass(ms: number, share: number, { switches = 4, others = 1 } = {}): boolean[] {
    return Array.from({ length: ms }, () => {
      this.time++
      this.own++
      this.all += 1 + others
      this.pushed += share * switches
      this.left += (1 - share) * switches
      return this.crowding.crowded
    })
  }
}

const never = (answers: boolean[]): boolean => !answers.includes(true)

test('crowding: none where the threads of the process have the processors for themselves', (t) => {
  const machine = new Machine()
  t.ok(never(machine.pass(5_000, 0.1)))
  t.equal(machine.asked, 1, 'no reason to ask about processors, but for how many there are')
  t.end()
})

test('crowding: seen within some 300 ms, and tried again after pauses that grow to 4 s', (t) => {
  const machine = new Machine()
  machine.pass(1_000, 0.1)
  const answers = machine.pass(20_000, 0.5)
  t.ok(answers.indexOf(true) < 400)
  const pauses: number[] = []
  for (const [at, crowded] of answers.entries()) {
    if (crowded && !answers[at - 1]) pauses.push(0)
    if (crowded) pauses[pauses.length - 1]!++
  }
  t.deepEqual(pauses.slice(0, 5), [500, 1_000, 2_000, 4_000, 4_000])
  t.end()
})

test('crowding: threads of the process that push each other are no crowd, nor are others that do not push them', (t) => {
  const machine = new Machine()
  t.ok(never(machine.pass(5_000, 0.5, { others: 0.1 })))
  t.ok(never(machine.pass(5_000, 0.1, { others: 1 })))
  t.end()
})

test('crowding: where the system does not tell who uses its processors, being pushed off them has to do', (t) => {
  const machine = new Machine(0)
  t.ok(never(machine.pass(5_000, 0.1)))
  t.notOk(never(machine.pass(1_000, 0.5)))
  t.end()
})

test('crowding: ends when others leave the processors', (t) => {
  const machine = new Machine()
  machine.pass(20_000, 0.5)
  t.ok(never(machine.pass(10_000, 0.1).slice(4_000)))
  machine.pass(1_000, 0.1)
  const again = machine.pass(800, 0.5)
  t.equal(again.filter(Boolean).length, 500, 'the next pause is a short one')
  t.end()
})

test('crowding: one moment says nothing, nor do few switches, or none as on Windows', (t) => {
  const machine = new Machine()
  machine.pass(1_000, 0.1)
  for (let i = 0; i < 20; i++) {
    t.ok(never(machine.pass(60, 0.9)), 'a moment')
    t.ok(never(machine.pass(240, 0.02)))
  }
  t.ok(never(machine.pass(5_000, 0.9, { switches: 0.5 })), 'few')
  t.ok(never(machine.pass(5_000, 0, { switches: 0 })), 'none')
  t.end()
})

test('crowding: what happened while nobody asked says nothing', (t) => {
  const machine = new Machine()
  machine.pass(200, 0.1)
  for (let i = 0; i < 20; i++) {
    machine.time += 1_000
    t.ok(never(machine.pass(40, 0.9)))
  }
  t.end()
})

test('crowding: of few processors it is what others leave of them that counts', (t) => {
  for (const processors of [2, 4, 8]) {
    const machine = new Machine(processors)
    const room = processors - 1
    t.ok(machine.pass(100, 0, { others: 0 }).every(Boolean), 'nothing is known at first')
    t.ok(never(machine.pass(1_000, 0, { others: 0 }).slice(200)))
    t.ok(never(machine.pass(1_000, 0.05, { others: room - 0.7 })), 'there is room beside others')
    const crowded = machine.pass(1_000, 0.05, { others: room - 0.1 })
    t.ok(
      crowded.indexOf(true) > 100 && crowded.slice(300).every(Boolean),
      'and is none, without being pushed'
    )
    const again = machine.pass(1_000, 0, { others: room - 0.9 })
    t.ok(again.indexOf(false) > 100 && never(again.slice(400)), 'until they leave')
  }
  t.end()
})

test('crowding: of few processors something is known also to who works for a moment at a time', (t) => {
  const machine = new Machine(2)
  t.ok(machine.pass(50, 0, { others: 0 }).every(Boolean))
  machine.time += 1_000
  t.ok(never(machine.pass(50, 0, { others: 0 })))
  t.end()
})

test('crowding: of few processors a moment changes nothing, and what was known stays known while nobody asks', (t) => {
  const machine = new Machine(2)
  machine.pass(1_000, 0, { others: 0 })
  for (let i = 0; i < 10; i++) {
    t.ok(never(machine.pass(100, 0, { others: 1 })))
    t.ok(never(machine.pass(200, 0, { others: 0 })))
  }
  machine.time += 60_000
  t.ok(never(machine.pass(50, 0, { others: 1 })))
  t.end()
})
