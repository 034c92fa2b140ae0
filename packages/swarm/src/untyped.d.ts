// Packages without types of their own; `hyperswarm.ts` says what is used of them.
declare module 'hyperswarm' {
  const Hyperswarm: unknown
  export default Hyperswarm
}

declare module 'hyperdht' {
  const HyperDht: unknown
  export default HyperDht
}

declare module 'hyperdht/testnet.js' {
  /** A network of nodes on loopback, for tests. */
  export default function createTestnet(
    size: number,
    options?: { host?: string; port?: number }
  ): Promise<{
    readonly bootstrap: { host: string; port: number }[]
    readonly nodes: { destroy(): Promise<void>; address(): { host: string; port: number } }[]
    destroy(): Promise<void>
  }>
}
