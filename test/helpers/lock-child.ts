/**
 * A process that opens the directory in its second argument as the opener in its first. It tells `held` or the code of
 * the error; closes when told anything, and then ends.
 */
import { type Holder, type Opener, openDirectory } from './lock-openers.ts'

const [opener, folder] = process.argv.slice(2) as [Opener, string]

openDirectory(opener, folder).then(
  (holder: Holder) => {
    process.once('message', () => {
      holder.close().then(() => process.disconnect())
    })
    process.send!('held')
  },
  (error: { code?: string; message: string }) => {
    process.send!(error.code ?? error.message, () => process.disconnect())
  }
)
