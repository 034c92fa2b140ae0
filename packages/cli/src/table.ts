import CliTable from 'cli-table3'

// Columns by spaces: lines and corners would be in the way of grep and of screen readers.
const PLAIN = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  '
}

/** Rows in columns, with a head if it is given. */
export function table(rows: readonly (readonly string[])[], head: readonly string[] = []): string {
  const style = { head: [], border: [], 'padding-left': 0, 'padding-right': 0 }
  const shown = new CliTable({ chars: PLAIN, style, head: [...head] })
  for (const row of rows) shown.push([...row])
  return shown
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/** Names and values, one pair on each line. */
export function pairs(rows: readonly (readonly [string, string])[]): string {
  return table(rows)
}
