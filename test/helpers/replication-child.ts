/** An {@link Agent} in a process of its own; commands and answers are messages. */
import { Agent } from './replication-agent.ts'

const agent = new Agent() as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>

process.on('message', async ({ id, command, args }: { id: number; command: string; args: unknown[] }) => {
  try {
    const value = await agent[command]!(...args)
    process.send!({ id, value })
  } catch (error) {
    const { message, code } = error as Error & { code?: string }
    process.send!({ id, error: { message, code } })
  }
})
process.on('disconnect', () => process.exit())
process.send!({ ready: true })
