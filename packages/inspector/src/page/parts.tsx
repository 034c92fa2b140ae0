/** Small parts that several views are made of. */
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import type { BlockState } from '../messages.ts'
import { number } from './format.ts'

/** A part of a view, under a heading. */
export function Card({
  title,
  extra,
  children
}: {
  title: string
  extra?: ComponentChildren
  children: ComponentChildren
}) {
  return (
    <section class="card">
      <div class="card-head">
        <h2>{title}</h2>
        {extra}
      </div>
      {children}
    </section>
  )
}

/** A figure with its name, and what it is to be seen against. */
export function Figure({ name, value, note }: { name: string; value: string; note?: string | undefined }) {
  return (
    <div class="figure">
      <dt>{name}</dt>
      <dd>
        <strong>{value}</strong>
        {note && <span class="soft">{note}</span>}
      </dd>
    </div>
  )
}

/** A message about something that went wrong, read out at once. */
export function Problem({ children }: { children: ComponentChildren }) {
  return (
    <p class="problem" role="alert">
      {children}
    </p>
  )
}

/** A long hexadecimal text that can be copied. */
export function Hex({ label, value }: { label: string; value: string }) {
  const [copied, setCopied] = useState(false)
  const copy = async () => {
    await navigator.clipboard.writeText(value)
    setCopied(true)
    setTimeout(() => setCopied(false), 1500)
  }
  return (
    <span class="hex">
      <code>{value}</code>
      <button type="button" class="small" onClick={copy} aria-label={`Copy ${label}`}>
        {copied ? 'Copied' : 'Copy'}
      </button>
    </span>
  )
}

const STATES: Record<BlockState, string> = {
  present: 'here',
  missing: 'missing',
  downloading: 'downloading',
  cleared: 'cleared',
  damaged: 'damaged'
}

/** The state of a block. */
export function State({ state }: { state: BlockState }) {
  return (
    <span class="state">
      <i class={`swatch ${state}`} aria-hidden="true" />
      {STATES[state]}
    </span>
  )
}

/** All states with their colours. */
export function Legend() {
  return (
    <ul class="legend">
      {(Object.keys(STATES) as BlockState[]).map((state) => (
        <li key={state}>
          <State state={state} />
        </li>
      ))}
    </ul>
  )
}

/** How far something is. */
export function Progress({ value, max, label }: { value: number | null; max: number; label: string }) {
  return (
    <div class="progress">
      <progress {...(value === null ? {} : { value: max === 0 ? 1 : value / max })} aria-label={label} />
      <span class="soft">{label}</span>
    </div>
  )
}

/** Where one says which block. */
export function BlockPicker(props: {
  block: number
  length: number
  choose(block: number): void
  label?: string
}) {
  const { block, length, choose } = props
  const [text, setText] = useState<string | null>(null)
  const submit = (event: Event) => {
    event.preventDefault()
    const wanted = Number((text ?? String(block)).replaceAll(/[\s,_]/g, ''))
    setText(null)
    if (Number.isSafeInteger(wanted)) choose(Math.max(0, Math.min(length - 1, wanted)))
  }
  return (
    <form class="picker" onSubmit={submit}>
      <button
        type="button"
        disabled={block <= 0}
        onClick={() => choose(block - 1)}
        aria-label="Previous block"
      >
        ‹
      </button>
      <label>
        {props.label ?? 'Block'}{' '}
        <input
          type="text"
          inputMode="numeric"
          size={9}
          value={text ?? String(block)}
          onInput={(event) => setText(event.currentTarget.value)}
          onBlur={() => setText(null)}
        />
      </label>
      <button
        type="button"
        disabled={block >= length - 1}
        onClick={() => choose(block + 1)}
        aria-label="Next block"
      >
        ›
      </button>
      <span class="soft">of {number(length)}</span>
    </form>
  )
}
