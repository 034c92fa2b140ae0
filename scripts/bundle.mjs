/**
 * Compiles `src` into a few modules in `dist`: what is imported, and what those share. Loading more than a hundred files
 * takes 7 MB more memory than loading these. Names and lines stay as they are, for stack traces; comments go.
 *
 * The dependencies are CommonJS. Where Node.js imports those, it reads each one through to find the names it exports, which
 * takes 8 MB; where they are required, it does not. So `dist/modules.js`, which package.json chooses where nothing is bundled,
 * requires them, and its like imports them.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import ts from 'typescript'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

// What is imported of each by name. Modules with a path of their own are only imported by those that are for Node.js.
const everywhere = {
  b4a: [],
  codecs: [],
  events: ['EventEmitter'],
  'flat-tree': ['fullRoots', 'iterator', 'parent', 'sibling'],
  'protocol-buffers-encodings': [],
  'random-access-storage': [],
  streamx: ['Duplex', 'Readable', 'Writable']
}
const inNode = {
  'random-access-file': [],
  'sodium-native': [],
  'sodium-native/binding.js': []
}

const nameOf = (specifier) => specifier.replace(/\W+(\w)/g, (_, letter) => letter.toUpperCase())

function required(list) {
  const lines = Object.keys(list).map((name) => `export const ${nameOf(name)} = require('${name}')`)
  const head = [
    "import { createRequire } from 'node:module'",
    'const require = createRequire(import.meta.url)'
  ]
  return [...head, ...lines].join('\n')
}

function imported(list) {
  return Object.keys(list)
    .map((name) => `export { default as ${nameOf(name)} } from '${name}'`)
    .join('\n')
}

/** Each import of a dependency becomes one from `#modules`, which is chosen by package.json. */
function modules() {
  const made = {
    modules: required(everywhere),
    'modules.imported': imported(everywhere),
    'modules.node': required(inNode),
    'modules.node.imported': imported(inNode)
  }
  const names = { ...everywhere, ...inNode }
  return {
    name: 'modules',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^#?[a-z]/ }, ({ path, namespace, kind }) => {
        if (kind === 'entry-point') return path in made ? { path, namespace: 'made' } : undefined
        if (path.startsWith('#') || namespace === 'made') return { path, external: true, sideEffects: false }
        return path in names ? { path, namespace: 'dependency', sideEffects: false } : undefined
      })
      onLoad({ filter: /./, namespace: 'made' }, ({ path }) => ({ contents: made[path], loader: 'js' }))
      onLoad({ filter: /./, namespace: 'dependency' }, ({ path }) => {
        const from = path in everywhere ? '#modules' : '#modules/node'
        const list = names[path]
        return {
          contents: [
            `import { ${nameOf(path)} as module } from '${from}'`,
            'export default module',
            ...(list.length > 0 ? [`export const { ${list.join(', ')} } = module`] : [])
          ].join('\n'),
          loader: 'js'
        }
      })
    }
  }
}

// Comments that tools read.
const KEPT = /[#@]__|^\/\/# /

/**
 * Without comments, which esbuild leaves within classes: they took a megabyte of memory. Everything else stays in its line and column, where
 * the source map has it.
 */
function withoutComments(code) {
  const found = new Map()
  const note = (ranges) => {
    for (const { pos, end } of ranges ?? []) if (!KEPT.test(code.slice(pos, end))) found.set(pos, end)
  }
  const look = (node) => {
    // A text with `//` in it has no comments.
    if (ts.isTemplateLiteralToken(node)) return
    note(ts.getLeadingCommentRanges(code, node.pos))
    note(ts.getTrailingCommentRanges(code, node.end))
    ts.forEachChild(node, look)
  }
  look(ts.createSourceFile('made.js', code, ts.ScriptTarget.ES2022, false, ts.ScriptKind.JS))
  let rest = 0
  let kept = ''
  for (const [pos, end] of [...found].sort(([a], [b]) => a - b)) {
    const blank = code[end] === '\n' ? '' : ' '
    kept += code.slice(rest, pos) + code.slice(pos, end).replace(/[^\n]/g, blank)
    rest = end
  }
  return kept + code.slice(rest)
}

const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: [
    'src/index.ts',
    'src/hypercore.ts',
    // Beside what starts it, which is in a shared module: bundlers look for it there.
    { in: 'src/storage/opfs/opfs-worker.ts', out: 'shared/opfs-worker' },
    // Modules of their own, because package.json chooses one of each pair.
    'src/crypto/backend.ts',
    'src/crypto/backend.browser.ts',
    'src/storage/directory.ts',
    'src/storage/directory.browser.ts',
    ...['modules', 'modules.imported', 'modules.node', 'modules.node.imported'].map((name) => ({
      in: name,
      out: name
    }))
  ].map((entry) => (typeof entry === 'string' ? { in: entry, out: entry.slice(4, -3) } : entry)),
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'neutral',
  target: 'es2022',
  packages: 'external',
  plugins: [modules()],
  chunkNames: 'shared/[name]-[hash]',
  legalComments: 'none',
  sourcemap: true,
  write: false
})

for (const { path, text } of outputFiles) {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, path.endsWith('.js') ? withoutComments(text) : text)
}
