#compdef {{.Program}}
# Completion of {{.Program}}'s arguments in zsh. {{.Program}} completion zsh
{{func .Program}}() {
	case $words[2] in
{{- range .Words}}{{if .Flags}}
	{{.Name}}) (( CURRENT != 3 )) || [[ $PREFIX == -* ]] || compadd -- {{join .Then}}
		while (( CURRENT > 2 )) && [[ " {{.Name}} {{join .Then}} " == *" $words[2] "* ]]; do # _arguments knows flags only
			words[2]=()
			(( CURRENT-- ))
		done ;;
{{- else}}
	{{.Name}}) (( CURRENT == 2 )) || { (( CURRENT == 3 )) && compadd -- {{join .Then}}; return; } ;;
{{- end}}
{{- end}}
	esac
	(( CURRENT != 2 )) || [[ $PREFIX == -* ]] || compadd -- {{join .FirstWords}}
	_arguments \
{{- range .Flags}}
		'*{{.Dashed}}{{if and .Value (not .Alone) (gt (len .Name) 1)}}={{end}}[{{zsh .Short}}]{{if and .Value (not .Alone)}}:{{zsh .Value}}:
{{- if .Choices}}({{join .Choices}}){{else if .TakesDir}}_files -/{{else if .TakesFile}}_files{{else}} {{end}}{{end}}' \
{{- end}}
		'(- *)--help[print what there is]'
}
if [[ $funcstack[1] == {{func .Program}} ]]; then
	{{func .Program}} "$@"
else
	compdef {{func .Program}} {{.Program}}
fi
