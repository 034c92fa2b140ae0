/** Opens the folder in its second argument with the package in its first, tells how that went, and closes it again. */
import { PACKAGES } from './packages.ts'

const [name, folder] = process.argv.slice(2) as [string, string]
const feed = PACKAGES[name]!(folder)

feed.ready().then(
  async () => {
    console.log(`open ${feed.length}`)
    await feed.close()
  },
  (error: { code?: string; message: string }) => {
    console.log(error.code ?? error.message)
    // The published packages leave files open when an opening fails (quirk 16).
    process.exit(0)
  }
)
