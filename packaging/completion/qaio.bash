# Completion of qaio for bash.  Commands and options are asked of the program itself, so that they are always those of this version.
_qaio() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]} program=${COMP_WORDS[0]}
  if [ "$COMP_CWORD" -eq 1 ]; then
    mapfile -t COMPREPLY < <(compgen -W "$(QAIO_LANG=en "$program" --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p') help --help --version" -- "$current")
    return
  fi
  case $previous in
  -m | --model)
    mapfile -t COMPREPLY < <(compgen -W "$(QAIO_LANG=en "$program" models 2>/dev/null | sed -n '/^$/q;s/^  \([^ ]*\) .*/\1/p')" -- "$current"; compgen -f -- "$current")
    return ;;
  --type) mapfile -t COMPREPLY < <(compgen -W "q8_0 q4_0 f16 bf16 f32" -- "$current"); return ;;
  --kv-type) mapfile -t COMPREPLY < <(compgen -W "f16 f32" -- "$current"); return ;;
  --source) mapfile -t COMPREPLY < <(compgen -W "huggingface modelscope" -- "$current"); return ;;
  --format | --output-format) mapfile -t COMPREPLY < <(compgen -W "csv jsonl txt" -- "$current"); return ;;
  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(QAIO_LANG=en "$program" help "$command" 2>/dev/null | grep -o -- '^ .\{4,6\}--[a-z-]*' | grep -o -- '--[a-z-]*')" -- "$current")
    return
  fi
  local words=
  if [ "$COMP_CWORD" -eq 2 ]; then
    case $command in
    run | batch) words=$(QAIO_LANG=en "$program" tasks 2>/dev/null | sed 's/ .*//') ;;
    tasks) words="list show test calibrate" ;;
    inspect) words="tokenize detokenize template logits score generate dequant model" ;;
    pull) words=$(QAIO_LANG=en "$program" models 2>/dev/null | sed '1,/^$/d' | sed -n 's/^  \([^ ]*\) .*/\1/p') ;;
    help) words=$(QAIO_LANG=en "$program" --help 2>/dev/null | sed -n 's/^  \([a-z]*\)  .*/\1/p') ;;
    esac
  elif [ "$command" = tasks ] && [ "${COMP_WORDS[2]}" != list ]; then
    words=$(QAIO_LANG=en "$program" tasks 2>/dev/null | sed 's/ .*//')
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; compgen -f -- "$current")
}
complete -o filenames -F _qaio qaio
