import type { ViewProps } from './app.tsx'
import { bytes, number, percent } from './format.ts'
import { Card, Figure, Hex, Progress } from './parts.tsx'

/** What there is of a feed. */
export function Overview({ feed, detail, rates }: ViewProps) {
  const { down, up } = rates.latest(0)
  const { transfers } = detail
  return (
    <>
      <dl class="figures">
        <Figure name="Blocks" value={number(feed.length)} note={`${number(feed.present)} here`} />
        <Figure name="Bytes" value={bytes(feed.byteLength)} note={`${number(feed.byteLength)} bytes`} />
        <Figure name="Missing" value={number(feed.length - feed.present)} note="blocks" />
        <Figure
          name="Peers"
          value={number(feed.peers)}
          note={`claim ${number(detail.remoteLength)} blocks`}
        />
        <Figure
          name="Down"
          value={`${bytes(down)}/s`}
          note={transfers ? `${bytes(transfers.downloadedBytes)} in all` : undefined}
        />
        <Figure
          name="Up"
          value={`${bytes(up)}/s`}
          note={transfers ? `${bytes(transfers.uploadedBytes)} in all` : undefined}
        />
      </dl>
      <Card title="What is here">
        <Progress
          value={feed.present}
          max={feed.length}
          label={`${percent(feed.present, feed.length)} of the blocks`}
        />
        <dl class="facts">
          <div>
            <dt>Key</dt>
            <dd>
              {feed.key === null ? 'none before it is finalized' : <Hex label="key" value={feed.key} />}
            </dd>
          </div>
          <div>
            <dt>Discovery key</dt>
            <dd>
              {detail.discoveryKey === null ? (
                'none'
              ) : (
                <Hex label="discovery key" value={detail.discoveryKey} />
              )}
            </dd>
          </div>
          <div>
            <dt>Kind</dt>
            <dd>
              {detail.live ? 'signed as it grows' : 'static: its key is the hash of its tree'}
              {detail.sparse ? ', sparse: blocks are fetched when they are asked for' : ''}
            </dd>
          </div>
          <div>
            <dt>Writable</dt>
            <dd>{feed.writable ? 'yes: the secret key is here, and is never shown on this page' : 'no'}</dd>
          </div>
          <div>
            <dt>Warnings</dt>
            <dd>
              {feed.warnings.length === 0
                ? 'none: no damage and no fork was noticed'
                : `${feed.warnings.length}, see above`}
            </dd>
          </div>
        </dl>
      </Card>
    </>
  )
}
