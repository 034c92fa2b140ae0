import { useEffect, useRef } from 'preact/hooks'
import UPlot from 'uplot'
import { bytes } from './format.ts'
import { useWidth } from './hooks.ts'
import type { RateHistory } from './rates.ts'
import { coloursOf, useColours } from './theme.ts'

const HEIGHT = 180
/** Seconds that are shown, and those that are named. */
const SHOWN = 60
const TICKS = [60, 40, 20, 0]
/** Peers with a line of their own. */
const LINES = 12

/** Rates of all peers over the last minute. */
export function RateChart({
  rates,
  direction,
  time
}: {
  rates: RateHistory
  direction: 'down' | 'up'
  time: number
}) {
  const box = useRef<HTMLDivElement>(null)
  const chart = useRef<UPlot | null>(null)
  const width = useWidth(box)
  const colours = useColours()
  const peers = rates.peers().slice(-LINES)
  const lines = peers.join(' ')

  useEffect(() => {
    if (width === 0 || box.current === null) return
    const colour = coloursOf(
      'text',
      'line',
      'series-0',
      'series-1',
      'series-2',
      'series-3',
      'series-4',
      'series-5'
    )
    const axis = {
      stroke: colour.text,
      grid: { stroke: colour.line, width: 1 },
      ticks: { stroke: colour.line, width: 1 }
    }
    const made = new UPlot(
      {
        width,
        height: HEIGHT,
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: false, range: (_, __, max) => [max - SHOWN, max] },
          y: { range: (_, __, max) => [0, Math.max(1000, max * 1.1)] }
        },
        axes: [
          {
            ...axis,
            splits: (_, __, ___, max) => TICKS.map((seconds) => max - seconds),
            values: () => TICKS.map((seconds) => (seconds === 0 ? 'now' : `−${seconds} s`))
          },
          { ...axis, size: 74, values: (_, splits) => splits.map((at) => `${bytes(at)}/s`) }
        ],
        series: [
          {},
          ...peers.map((peer) => ({
            label: peer === 0 ? 'all' : `peer ${peer}`,
            stroke: peer === 0 ? colour.text : colour[`series-${(peer % 6) as 0 | 1 | 2 | 3 | 4 | 5}`],
            width: peer === 0 ? 1 : 2,
            ...(peer === 0 ? { dash: [4, 4] } : {}),
            points: { show: false }
          }))
        ]
      },
      dataOf(rates, peers, direction),
      box.current
    )
    chart.current = made
    return () => {
      chart.current = null
      made.destroy()
    }
  }, [width, lines, colours])

  useEffect(() => {
    chart.current?.setData(dataOf(rates, peers, direction))
  }, [time])

  const now = rates.latest(0)[direction]
  return (
    <>
      <div
        ref={box}
        class="chart"
        role="img"
        aria-label={`${direction === 'down' ? 'Downloading' : 'Uploading'} ${bytes(now)} a second; lines of ${peers.length} over the last minute`}
      />
      <p class="soft">{bytes(now)}/s in all (dashed), one line for each peer</p>
    </>
  )
}

function dataOf(rates: RateHistory, peers: number[], direction: 'down' | 'up'): UPlot.AlignedData {
  return [rates.times(), ...peers.map((peer) => rates.series(peer)[direction])]
}
