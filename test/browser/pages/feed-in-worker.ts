/** A dedicated worker in which the whole library runs. */
import ddatabase from '../../../src/index.ts'

addEventListener('message', async ({ data: { name, values } }) => {
  try {
    const feed = ddatabase<string>(name, { valueEncoding: 'utf-8' })
    await feed.append(values)
    const blocks = await feed.getBatch(0, feed.length)
    const report = await feed.audit()
    await feed.close()
    postMessage({ blocks, report: { ...report } })
  } catch (error) {
    postMessage({ error: String(error) })
  }
})
