# Completion of {{.Program}}'s arguments in bash. {{.Program}} completion bash
{{func .Program}}() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	COMPREPLY=()
	if [[ $cur == = ]]; then # bash parts words at =
		cur=
	elif [[ $prev == = ]]; then
		prev=${COMP_WORDS[COMP_CWORD-2]}
	fi
	case $prev in
{{- range .Flags}}{{if and .Value (not .Alone)}}
	{{.Dashed}}{{if gt (len .Name) 1}}|-{{.Name}}{{end}})
{{- if .Choices}} mapfile -t COMPREPLY < <(compgen -W '{{join .Choices}}' -- "$cur"); return ;;
{{- else if .TakesDir}} compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
{{- else if .TakesFile}} compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
{{- else}} return ;;{{end}}{{end}}{{end}}
	esac
	case ${COMP_WORDS[1]},$COMP_CWORD in
	*,1) mapfile -t COMPREPLY < <(compgen -W '{{join .FlagWords}} {{join .FirstWords}}' -- "$cur"); return ;;
{{- range .Words}}
	{{.Name}},2) mapfile -t COMPREPLY < <(compgen -W '{{join .Then}}{{if .Flags}} {{join $.FlagWords}}{{end}}' -- "$cur"); return ;;
{{- if not .Flags}}
	{{.Name}},*) return ;;
{{- end}}
{{- end}}
	esac
	mapfile -t COMPREPLY < <(compgen -W '{{join .FlagWords}}' -- "$cur")
}
complete -F {{func .Program}} {{.Program}}
