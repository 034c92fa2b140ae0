/** What the examples use of `cli-progress`, which ships no declarations. */
declare module 'cli-progress' {
  export class SingleBar {
    constructor(
      options: {
        format: string
        hideCursor?: boolean
        clearOnComplete?: boolean
        gracefulExit?: boolean
        stream?: NodeJS.WritableStream
      },
      preset?: object
    )
    start(total: number, value: number, payload?: object): void
    update(value: number, payload?: object): void
    stop(): void
  }
  const progress: { SingleBar: typeof SingleBar; Presets: { shades_classic: object } }
  export default progress
}
