import type { PeerSummary } from '../messages.ts'
import type { ViewProps } from './app.tsx'
import { bytes, count, duration, number, percent } from './format.ts'
import { Card } from './parts.tsx'
import { RateChart } from './rate-chart.tsx'
import type { RateHistory } from './rates.ts'

/** Peers, their rates, and what each has, wants and owes. */
export function PeersView({ feed, detail, rates }: ViewProps) {
  return (
    <>
      <div class="charts">
        <Card title="Downloading">
          <RateChart rates={rates} direction="down" time={detail.time} />
        </Card>
        <Card title="Uploading">
          <RateChart rates={rates} direction="up" time={detail.time} />
        </Card>
      </div>
      <Card title={count(detail.peers.length, 'peer')}>
        {detail.peers.length === 0 ? (
          <p class="soft">Nobody is connected.</p>
        ) : (
          <ul class="peers">
            {detail.peers.map((peer) => (
              <PeerItem key={peer.id} peer={peer} length={feed.length} rates={rates} />
            ))}
          </ul>
        )}
      </Card>
    </>
  )
}

function PeerItem({ peer, length, rates }: { peer: PeerSummary; length: number; rates: RateHistory }) {
  const { down, up } = rates.latest(peer.id)
  const share = peer.has.reduce((sum, part) => sum + part, 0)
  return (
    <li>
      <h3>
        <i class="swatch" style={{ background: `var(--series-${peer.id % 6})` }} aria-hidden="true" /> Peer{' '}
        {peer.id}{' '}
        <span class="soft">
          {peer.address ?? 'no address'}
          {peer.type === null || peer.type === 'unknown' ? '' : ` (${peer.type})`}
        </span>
      </h3>
      {peer.publicKey && (
        <p class="soft">
          <code class="long">{peer.publicKey}</code>
        </p>
      )}
      <dl class="facts">
        <div>
          <dt>Has</dt>
          <dd>
            {count(peer.remoteLength, 'block')} long as far as it is known,{' '}
            {share === 0
              ? 'it has not said which of them it has'
              : `about ${percent(share, peer.has.length)} of them`}
            <HasStrip shares={peer.has} />
          </dd>
        </div>
        <div>
          <dt>Wants</dt>
          <dd>{wantsOf(peer, length)}</dd>
        </div>
        <div>
          <dt>Owes</dt>
          <dd>
            {peer.owed === 0
              ? peer.gives
                ? 'nothing that it was asked for'
                : 'nothing, it does not send blocks'
              : `${count(peer.owed, 'block')}, the oldest for ${duration(peer.owedFor)}: ${peer.owes.slice(0, 8).map(number).join(', ')}${peer.owed > 8 ? ' …' : ''}`}
          </dd>
        </div>
        <div>
          <dt>Down</dt>
          <dd>
            {bytes(down)}/s
            {peer.transfers &&
              `, ${bytes(peer.transfers.downloadedBytes)} in ${count(peer.transfers.downloadedBlocks, 'block')}`}
          </dd>
        </div>
        <div>
          <dt>Up</dt>
          <dd>
            {bytes(up)}/s
            {peer.transfers &&
              `, ${bytes(peer.transfers.uploadedBytes)} in ${count(peer.transfers.uploadedBlocks, 'block')}`}
          </dd>
        </div>
      </dl>
    </li>
  )
}

function wantsOf({ wants, remoteLength, lacks, sent }: PeerSummary, length: number): string {
  if (!wants) return 'nothing from here'
  const parts = ['fetches blocks from here']
  if (lacks === 0 && remoteLength >= length) parts.push('has all that are here')
  if (lacks !== null && lacks > 0) parts.push(`lacks about ${count(lacks, 'block')} of those that are here`)
  if (lacks === null && remoteLength < length) parts.push(`${count(length - remoteLength, 'block')} behind`)
  if (sent !== null) parts.push(`was sent block ${number(sent.block)} ${duration(sent.ago)} ago`)
  return parts.join(', ')
}

/** What a peer has, from the first block to the last. */
function HasStrip({ shares }: { shares: number[] }) {
  return (
    <svg
      class="has"
      viewBox={`0 0 ${Math.max(1, shares.length)} 1`}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      {shares.map((share, part) =>
        share > 0 ? (
          <rect key={part} class="has-part" x={part} y={1 - share} width="1.02" height={share} />
        ) : null
      )}
    </svg>
  )
}
