/** An {@link Agent} in a process of its own; commands and answers are messages. */
import { Agent } from './replication-agent.ts'

const agent = new Agent() as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>

// An answer that nobody can hear any more is no error.
const send = (message: object) => void process.send!(message, () => {})

process.on('message', async ({ id, command, args }: { id: number; command: string; args: unknown[] }) => {
  try {
    const value = await agent[command]!(...args)
    send({ id, value })
  } catch (error) {
    const { message, code } = error as Error & { code?: string }
    send({ id, error: { message, code } })
  }
})
process.on('disconnect', () => process.exit())
send({ ready: true })
