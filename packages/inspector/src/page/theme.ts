import { useEffect, useLayoutEffect, useState } from 'preact/hooks'

const THEMES = ['auto', 'light', 'dark'] as const

/** How the page looks: as the system says, or as chosen. */
export type Theme = (typeof THEMES)[number]

const STORED = 'ddatabase-inspector-theme'

/** The theme, and what changes it to the next one. */
export function useTheme(): [theme: Theme, next: () => void] {
  const [theme, setTheme] = useState<Theme>(
    () => THEMES.find((name) => name === localStorage.getItem(STORED)) ?? 'auto'
  )
  // Together with what the page says, not a moment later.
  useLayoutEffect(() => {
    document.documentElement.dataset.theme = theme
    localStorage.setItem(STORED, theme)
    dispatchEvent(new Event('themechange'))
  }, [theme])
  return [theme, () => setTheme((now) => THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]!)]
}

/** Goes up when colours may have changed: what is drawn has to be drawn anew. */
export function useColours(): number {
  const [version, setVersion] = useState(0)
  useEffect(() => {
    const changed = () => setVersion((now) => now + 1)
    const dark = matchMedia('(prefers-color-scheme: dark)')
    dark.addEventListener('change', changed)
    addEventListener('themechange', changed)
    return () => {
      dark.removeEventListener('change', changed)
      removeEventListener('themechange', changed)
    }
  }, [])
  return version
}

/** Colours of the style sheet by the names of their properties, as the browser makes them of light and dark. */
export function coloursOf<Name extends string>(...names: Name[]): Record<Name, string> {
  const probe = document.createElement('i')
  document.body.append(probe)
  const colours = {} as Record<Name, string>
  for (const name of names) {
    probe.style.color = `var(--${name})`
    colours[name] = getComputedStyle(probe).color
  }
  probe.remove()
  return colours
}
