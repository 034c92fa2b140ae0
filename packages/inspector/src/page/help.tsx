import { useEffect, useRef } from 'preact/hooks'
import type { Shortcuts } from './shortcuts.ts'

const KEYS: [keys: string, what: string][] = [
  ['1 … 6', 'the views, from left to right'],
  ['/', 'search the blocks'],
  ['t', 'light, dark, or as the system'],
  ['?', 'this list'],
  ['arrows, Home, End', 'in the map: choose a cell'],
  ['Page Up, Page Down', 'in the map: move the window'],
  ['+ −', 'in the map: closer, further away'],
  ['Enter', 'in the map: closer, and at a single block: show it']
]

/** The keys, in a dialog. */
export function Help({ close, shortcuts }: { close(): void; shortcuts: Shortcuts }) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      <dl class="keys">
        {KEYS.map(([keys, what]) => (
          <div key={keys}>
            <dt>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <p>
        <label>
          <input
            type="checkbox"
            checked={shortcuts.enabled}
            onChange={(event) => shortcuts.setEnabled(event.currentTarget.checked)}
          />{' '}
          Single keys work everywhere on the page
        </label>
      </p>
      <button type="button" onClick={() => dialog.current?.close()}>
        Close
      </button>
    </dialog>
  )
}
