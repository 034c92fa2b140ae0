import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import type { ProofInfo } from '../messages.ts'
import { ask, get } from './api.ts'
import type { ViewProps } from './app.tsx'
import { count, number } from './format.ts'
import { useFollowed } from './hooks.ts'
import { go } from './navigation.ts'
import { BlockPicker, Card, Problem } from './parts.tsx'
import { linkTo, type Route } from './route.ts'
import { layOut, NODE_HEIGHT, NODE_WIDTH, type Placed } from './tree-layout.ts'
import { nothingProven, type Step, type Verification, verifySteps } from './verify.ts'

interface Proven {
  proof: ProofInfo
  verification: Verification
}

/** The tree around a block, and its proof, step by step. */
export function TreeView({ route, feed, detail }: ViewProps) {
  const { length } = feed
  const block = Math.min(route.block ?? 0, Math.max(0, length - 1))
  const choose = (next: number) => go({ ...route, block: next })
  // What was verified once stays so; the rest may become known.
  const settled = useRef<number | null>(null)
  const loaded = useFollowed(
    async (signal) => {
      const proven = await prove(route.feed, block, length, signal)
      settled.current = proven.proof.here && proven.verification.valid ? block : null
      return proven
    },
    [route.feed, block],
    settled.current === block ? 'settled' : `${detail.revision} ${length}`,
    1000
  )
  const [at, setAt] = useState<number | null>(null)
  useEffect(() => setAt(null), [block])
  if (length === 0) return <Card title="Merkle tree">There are no blocks yet.</Card>

  const { error } = loaded
  // That of the block before is no answer.
  const value = loaded.value?.proof.block === block ? loaded.value : null
  const steps = value?.verification.steps ?? []
  const shown = Math.min(at ?? steps.length, steps.length)
  return (
    <>
      <Card title="Merkle tree" extra={<BlockPicker block={block} length={length} choose={choose} />}>
        <p class="soft">
          Everything below is computed in this page, from the block and its proof. Only the key has to be
          trusted: <code>{feed.key}</code>
        </p>
        {error && <Problem>{error}</Problem>}
        {value && (
          <>
            <Verdict {...value} />
            {value.proof.proven && (
              <fieldset class="toolbar">
                <legend class="hidden">Steps of the verification</legend>
                <button type="button" onClick={() => setAt(0)} disabled={shown === 0}>
                  From the start
                </button>
                <button type="button" onClick={() => setAt(Math.max(0, shown - 1))} disabled={shown === 0}>
                  Back
                </button>
                <button type="button" onClick={() => setAt(shown + 1)} disabled={shown === steps.length}>
                  Next step
                </button>
                <button type="button" onClick={() => setAt(null)} disabled={shown === steps.length}>
                  All
                </button>
                <span class="soft" role="status">
                  {shown} of {count(steps.length, 'step')}
                </span>
              </fieldset>
            )}
            <Drawing
              {...value}
              route={route}
              length={length}
              done={steps.slice(0, shown)}
              live={detail.live}
            />
          </>
        )}
      </Card>
      {value?.proof.proven && (
        <Card title="Steps">
          <ol class="steps">
            {steps.map((step, i) => (
              <StepItem
                key={`${block} ${step.title}`}
                step={step}
                state={i < shown ? (i === shown - 1 && at !== null ? 'now' : 'done') : 'ahead'}
              />
            ))}
          </ol>
        </Card>
      )}
    </>
  )
}

async function prove(feed: string, block: number, length: number, signal: AbortSignal): Promise<Proven> {
  const nodes = layOut(block, length)
    .nodes.map(({ index }) => index)
    .join(',')
  const proof = await get<ProofInfo>(`feeds/${feed}/blocks/${block}/proof?nodes=${nodes}`, signal)
  let content: Uint8Array | null = null
  if (proof.here) {
    const answer = await ask(`feeds/${feed}/blocks/${block}/content`, { signal })
    content = new Uint8Array(await answer.arrayBuffer())
  }
  return { proof, verification: proof.proven ? verifySteps(proof, content) : nothingProven(length) }
}

function Verdict({ proof, verification }: Proven) {
  const { valid, length } = verification
  if (!proof.proven) {
    return (
      <p class="verdict" role="status">
        Nothing that is known here proves block {number(proof.block)}: neither it nor a neighbour was fetched
        yet.
      </p>
    )
  }
  return (
    <p class={valid ? 'verdict good' : 'verdict bad'} role="status">
      {valid
        ? `Verified: block ${number(proof.block)} ${proof.here ? 'is' : '(its hash; the block is not here) is'} part of the feed of ${count(length, 'block')} that its author signed.`
        : `Not verified: block ${number(proof.block)} is not what the author of this feed signed.`}
    </p>
  )
}

function StepItem({ step, state }: { step: Step; state: 'done' | 'now' | 'ahead' }) {
  return (
    <li class={`step ${state}`} aria-current={state === 'now' ? 'step' : undefined}>
      <p class="step-title">
        {step.title}
        {state !== 'ahead' && step.holds !== null && (
          <span class={step.holds ? 'tag good' : 'tag bad'}>{step.holds ? 'holds' : 'does not hold'}</span>
        )}
      </p>
      {state !== 'ahead' && (
        <dl class="hashes">
          {step.inputs.map((input) => (
            <div key={input.label}>
              <dt>{input.label}</dt>
              <dd>
                <code>{input.value}</code>
              </dd>
            </div>
          ))}
          {step.result !== null && (
            <div class="result">
              <dt>{step.kind === 'given' ? 'hash' : 'BLAKE2b-256'}</dt>
              <dd>
                <code>{step.result}</code>
              </dd>
            </div>
          )}
        </dl>
      )}
    </li>
  )
}

function Drawing(props: Proven & { route: Route; length: number; done: Step[]; live: boolean }) {
  const { proof, verification, route, done } = props
  const layout = useMemo(() => layOut(proof.block, verification.length), [proof.block, verification.length])
  const at = new Map(layout.nodes.map((node) => [node.index, node]))
  const computed = new Set(done.flatMap((step) => (step.kind === 'tree' ? [] : step.nodes.slice(0, 1))))
  const now = new Set(done.at(-1)?.nodes ?? [])
  const given = new Set(verification.given)
  const path = new Set(verification.path)
  const known = new Set(proof.known)
  const roots = verification.roots.length
  const describe = `Tree of ${count(verification.length, 'block')} around block ${number(proof.block)}: ${proof.proven ? `its proof is a path of ${count(path.size, 'node')} with ${count(given.size, 'node')} given, to ${roots === 1 ? 'the root' : `one of ${roots} roots`}` : 'not proven here'}.`
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what is scrolled with the pointer is scrolled with keys
    <section class="drawing" tabIndex={0} aria-label="Drawing of the tree">
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be drawn */}
      <svg
        width={layout.width}
        height={layout.height}
        viewBox={`0 0 ${layout.width} ${layout.height}`}
        role="group"
        aria-label={describe}
      >
        {layout.edges.map(([child, parent]) => {
          const [from, to] = [at.get(child)!, at.get(parent)!]
          const proven = computed.has(parent) && path.has(parent)
          return (
            <path
              key={child}
              class={proven ? 'edge proven' : 'edge'}
              d={`M${from.x} ${from.y - NODE_HEIGHT / 2}C${from.x} ${from.y - 32} ${to.x} ${to.y + 32} ${to.x} ${to.y + NODE_HEIGHT / 2}`}
            />
          )
        })}
        {layout.nodes.map((node) => {
          const kind = path.has(node.index)
            ? computed.has(node.index)
              ? 'computed'
              : 'path'
            : given.has(node.index)
              ? 'given'
              : known.has(node.index)
                ? 'known'
                : 'unknown'
          return (
            <TreeNode
              key={node.index}
              node={node}
              kind={kind}
              now={now.has(node.index)}
              hash={kind === 'path' ? undefined : verification.hashes.get(node.index)}
              route={route}
              exists={node.block === null || node.block < props.length}
            />
          )
        })}
      </svg>
      <ul class="legend">
        <li>
          <i class="swatch computed" aria-hidden="true" /> computed
        </li>
        <li>
          <i class="swatch given" aria-hidden="true" /> from the proof
        </li>
        <li>
          <i class="swatch known" aria-hidden="true" /> known, not needed
        </li>
        <li>
          <i class="swatch unknown" aria-hidden="true" /> not known here
        </li>
      </ul>
    </section>
  )
}

function TreeNode(props: {
  node: Placed
  kind: string
  now: boolean
  hash: string | undefined
  route: Route
  exists: boolean
}) {
  const { node, kind, now, hash, route } = props
  const name = node.block === null ? String(node.index) : `block ${node.block}`
  const drawn = (
    <g
      class={`node ${kind}${now ? ' now' : ''}`}
      transform={`translate(${node.x - NODE_WIDTH / 2} ${node.y - NODE_HEIGHT / 2})`}
    >
      <rect width={NODE_WIDTH} height={NODE_HEIGHT} rx="6" />
      <text x={NODE_WIDTH / 2} y="16">
        {name}
      </text>
      <text x={NODE_WIDTH / 2} y="31" class="node-hash">
        {hash === undefined ? '·' : hash.slice(0, 8)}
      </text>
    </g>
  )
  if (node.block === null || !props.exists) return drawn
  return <a href={linkTo({ ...route, block: node.block })}>{drawn}</a>
}
