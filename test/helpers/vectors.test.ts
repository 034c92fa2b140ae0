import { createHash } from 'node:crypto'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'tape'
import { copyFolder, entries, entry, keyPair, vectorFolder } from './vectors.ts'

test('vectors: every storage folder holds the files that its entry describes', async (t) => {
  const all = await entries()
  t.ok(all.length >= 20, 'there are entries of both packages')
  for (const { name, files, storedFiles, filesBeforeOpening } of all) {
    const stored = Object.entries(filesBeforeOpening ?? files).filter(
      ([file, expected]) => expected !== null && (storedFiles?.includes(file) ?? true)
    )
    t.same((await readdir(vectorFolder(name))).sort(), stored.map(([file]) => file).sort(), `${name}: files`)
    for (const [file, expected] of stored) {
      const bytes = await readFile(join(vectorFolder(name), file))
      const sha256 = createHash('sha256').update(bytes).digest('hex')
      t.same({ size: bytes.length, sha256 }, expected, `${name}: ${file}`)
    }
  }
})

test('vectors: a copied folder is a folder of its own with equal files', async (t) => {
  const copy = await copyFolder('five')
  try {
    t.notEqual(copy, vectorFolder('five'))
    for (const file of await readdir(vectorFolder('five'))) {
      t.same(await readFile(join(copy, file)), await readFile(join(vectorFolder('five'), file)), file)
    }
  } finally {
    await rm(copy, { recursive: true })
  }
})

test('vectors: key pairs and entries are found by name', async (t) => {
  const { key } = await entry('five')
  const pair = await keyPair(key!)
  t.equal(pair.secretKey, pair.seed + key)
  const stored = await readFile(join(vectorFolder('five'), 'secret_key'), 'hex')
  t.ok(
    stored.endsWith(pair.secretKey) || stored === pair.secretKey,
    'the stored secret key is that of the pair'
  )
  try {
    await entry('nothing')
    t.fail('an unknown name is refused')
  } catch (error) {
    t.match(String(error), /nothing/)
  }
})
