import { command } from '../command.ts'
import { completionScript, SHELLS, shellOf } from '../completion.ts'

export const completion = command({
  usage: 'completion [shell]',
  describe: 'Print a script with which a shell completes commands and options',
  examples: [
    ['$0 completion bash >> ~/.bashrc', 'for bash'],
    ['$0 completion zsh >> ~/.zshrc', 'for zsh'],
    ['$0 completion fish > ~/.config/fish/completions/ddatabase.fish', 'for fish']
  ],
  options: (parser) =>
    parser.positional('shell', { choices: SHELLS, describe: 'Which shell [default: that of the login]' }),
  async run({ shell = shellOf(process.env.SHELL) }, { out }) {
    const script = completionScript(shell)
    if (out.json) await out.result('', { shell, script })
    else await out.write(script)
  }
})
