import { useEffect, useRef, useState } from 'preact/hooks'
import type { FeedDetail, FeedSummary } from '../messages.ts'
import { address } from './api.ts'
import { RateHistory } from './rates.ts'

/** What the server tells all the time. */
export interface LiveState {
  connected: boolean
  feeds: FeedSummary[]
  /** The feed that is looked at; null before it is known. */
  detail: FeedDetail | null
  rates: RateHistory
}

/** Follows the server. @param feed - the feed that is looked at */
export function useLive(feed: string): LiveState {
  const [connected, setConnected] = useState(false)
  const [feeds, setFeeds] = useState<FeedSummary[]>([])
  const [detail, setDetail] = useState<FeedDetail | null>(null)
  const histories = useRef(new Map<string, RateHistory>())
  let rates = histories.current.get(feed)
  if (rates === undefined) {
    rates = new RateHistory()
    histories.current.set(feed, rates)
  }
  const history = rates

  useEffect(() => {
    const source = new EventSource(address(`events?feed=${feed}`))
    source.onopen = () => setConnected(true)
    source.onerror = () => setConnected(false)
    source.addEventListener('feeds', ({ data }) => {
      const changed = JSON.parse(data) as FeedSummary[]
      setFeeds((known) => {
        const all = new Map(known.map((one) => [one.id, one]))
        for (const one of changed) all.set(one.id, one)
        return [...all.values()].sort((a, b) => Number(a.id) - Number(b.id))
      })
    })
    source.addEventListener('feed', ({ data }) => {
      const now = JSON.parse(data) as FeedDetail
      history.add(now)
      setDetail(now)
    })
    return () => source.close()
  }, [feed, history])

  return { connected, feeds, detail: detail?.id === feed ? detail : null, rates: history }
}
