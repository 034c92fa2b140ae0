import type { Row } from '../harness/row.ts'
import { appendRows } from './append.ts'
import { auditRows } from './audit.ts'
import { getRows } from './get.ts'
import { growthRows } from './growth.ts'
import { openRows } from './open.ts'
import { proofRows } from './proof.ts'
import { putRows } from './put.ts'
import { replicateRows } from './replicate.ts'
import { streamRows } from './stream.ts'
import { tailRows } from './tail.ts'

/** All rows, in the order of the table. */
export const rows: readonly Row[] = [
  ...appendRows,
  ...getRows,
  ...streamRows,
  ...proofRows,
  ...auditRows,
  ...openRows,
  ...putRows,
  ...replicateRows,
  ...tailRows,
  ...growthRows
]

/** The row called `name`. @throws {Error} if there is none. */
export function rowNamed(name: string): Row {
  const row = rows.find((candidate) => candidate.name === name)
  if (!row) throw new Error(`No row "${name}". There are: ${rows.map((r) => r.name).join(', ')}`)
  return row
}
