# Completion of {{.Program}}'s arguments in fish. {{.Program}} completion fish
complete -c {{.Program}} -f
{{- range .Words}}
complete -c {{$.Program}} -n __fish_use_subcommand -a {{.Name}}
{{- if .Then}}
complete -c {{$.Program}} -n '__fish_seen_subcommand_from {{.Name}}' -a '{{join .Then}}'
{{- end}}
{{- end}}
complete -c {{.Program}} -l help -d 'print what there is'
{{- range .Flags}}
complete -c {{$.Program}} {{if eq (len .Name) 1}}-s{{else}}-l{{end}} {{.Name}} -d '{{fish .Short}}'
{{- if and .Value (not .Alone)}}{{if .Choices}} -x -a '{{join .Choices}}'{{else if .TakesDir}} -x -a '(__fish_complete_directories)'{{else if .TakesFile}} -r -F{{else}} -x{{end}}{{end}}
{{- end}}
