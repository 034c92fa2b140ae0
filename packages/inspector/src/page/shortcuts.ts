import { useEffect, useState } from 'preact/hooks'
import { VIEWS, type View } from './route.ts'

const STORED = 'ddatabase-inspector-keys'

/** What keys do. */
export interface Actions {
  view(view: View): void
  theme(): void
  help(): void
}

/** Whether keys do anything, and what changes that. Who speaks to the machine does not want every letter to be a command. */
export interface Shortcuts {
  enabled: boolean
  setEnabled(enabled: boolean): void
}

/** Listens to keys, where nothing is being typed. */
export function useShortcuts(actions: Actions): Shortcuts {
  const [enabled, setEnabled] = useState(() => localStorage.getItem(STORED) !== 'off')
  useEffect(() => {
    if (!enabled) return
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.altKey || event.metaKey || isTyping(event.target)) return
      const view = VIEWS[Number(event.key) - 1]
      if (view !== undefined) actions.view(view)
      else if (event.key === 't') actions.theme()
      else if (event.key === '?') actions.help()
      else if (event.key === '/') {
        actions.view('blocks')
        // The view has to be there first.
        setTimeout(() => document.getElementById('search')?.focus(), 50)
      } else return
      event.preventDefault()
    }
    addEventListener('keydown', pressed)
    return () => removeEventListener('keydown', pressed)
  })
  return {
    enabled,
    setEnabled(on) {
      localStorage.setItem(STORED, on ? 'on' : 'off')
      setEnabled(on)
    }
  }
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest('input, textarea, select, dialog') !== null
}
