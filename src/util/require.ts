import module from 'node:module'

// There is one where modules are CommonJS.
declare const __filename: string | undefined

/**
 * What requires the module `name` from where this code lies; Node only. In a bundle `import.meta.url` may be missing, where that is CommonJS, or tell
 * where the code was before (webpack): there the place of the bundle counts. Otherwise nothing would be found on another machine,
 * and feeds would go without locks.
 * @throws if it is not installed
 */
export function requireFor(name: string): NodeJS.Require {
  const places = [import.meta.url, typeof __filename === 'string' ? __filename : undefined]
  const requires = places.filter((place) => place !== undefined).map((place) => module.createRequire(place))
  const found = requires.find((require) => canResolve(require, name))
  if (found === undefined) throw new Error(`${name} is not installed`)
  return found
}

function canResolve(require: NodeJS.Require, name: string): boolean {
  try {
    require.resolve(name)
    return true
  } catch {
    return false
  }
}
