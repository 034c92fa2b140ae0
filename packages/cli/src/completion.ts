/**
 * Completion in shells. Each script asks the program itself, which knows its commands and options; it is told for which shell,
 * since the variable SHELL is that of the login, and need not be the one that asks. Where nothing is offered the shell completes
 * files, so that folders of feeds can be typed with the help of Tab.
 */

/** The shells that a script is there for. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const

/** One of {@link SHELLS}. */
export type Shell = (typeof SHELLS)[number]

/** What a script calls the program with, before the words so far. */
export const COMPLETING = '--get-yargs-completions'

const SCRIPTS: Readonly<Record<Shell, string>> = {
  bash: `_ddatabase() {
  local IFS=$'\\n'
  local offered=$(SHELL=bash ZSH_NAME= ddatabase ${COMPLETING} "\${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null)
  COMPREPLY=($(compgen -W "$offered" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o bashdefault -o default -F _ddatabase ddatabase
`,
  zsh: `#compdef ddatabase
_ddatabase() {
  local -a offered
  offered=(\${(f)"$(SHELL=zsh ddatabase ${COMPLETING} "\${(@)words[1,CURRENT]}" 2>/dev/null)"})
  if (( $#offered )); then _describe ddatabase offered; else _files; fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _ddatabase "$@"; else compdef _ddatabase ddatabase; fi
`,
  fish: `function __ddatabase_complete
    set -l word (commandline -ct)
    set -l offered (SHELL=fish ddatabase ${COMPLETING} (commandline -opc) "$word" 2>/dev/null)
    if test -n "$offered"
        printf '%s\\n' $offered
    else
        __fish_complete_path "$word"
    end
end
complete -c ddatabase -f -a '(__ddatabase_complete)'
`
}

/** The script of a shell, with a line that says where it belongs. */
export function completionScript(shell: Shell): string {
  const place = {
    bash: 'ddatabase completion bash >> ~/.bashrc',
    zsh: 'ddatabase completion zsh >> ~/.zshrc',
    fish: 'ddatabase completion fish > ~/.config/fish/completions/ddatabase.fish'
  }[shell]
  const [first, ...rest] = SCRIPTS[shell].split('\n')
  // What zsh reads off the first line has to stay there.
  const lines = first!.startsWith('#') ? [first!, `# ${place}`, ...rest] : [`# ${place}`, first!, ...rest]
  return lines.join('\n')
}

/** The shell that a path such as that of the variable SHELL names; bash if it is none that is known. */
export function shellOf(path: string | undefined): Shell {
  return SHELLS.find((shell) => path?.endsWith(shell)) ?? 'bash'
}

/** What is offered, of what there is: options are in the way of files until a word begins like one. */
export function worthOffering(word: string, offered: readonly string[]): string[] {
  return offered.filter((one) => word.startsWith('-') || !one.startsWith('-'))
}
