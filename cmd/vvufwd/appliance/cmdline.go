package appliance

import (
	"strings"

	"vvufwd/cmd/internal/modules"
)

// splitCmdline cuts a kernel command line into words at white space outside double
// quotes. The quotes stay in the words, because the kernel takes them off itself
// when it reads the parameters of a module.
func splitCmdline(cmdline string) []string {
	quoted := false
	return strings.FieldsFunc(cmdline, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t' || r == '\n')
	})
}

// moduleParams finds the words "module.parameter=value" of a kernel command line.
// The kernel gives them to what is built into it; for modules that are loaded it
// leaves that to the loader, which is us. The answer maps a module's name to its
// parameters in the form that finit_module takes.
func moduleParams(cmdline string) map[string]string {
	params := make(map[string]string)
	for _, word := range splitCmdline(cmdline) {
		if word == "--" {
			break // what follows is for init
		}
		name, _, _ := strings.Cut(word, "=")
		module, param, found := strings.Cut(name, ".")
		if !found || module == "" || param == "" {
			continue
		}
		setting := strings.TrimPrefix(word, module+".")
		module = modules.Name(module)
		params[module] = strings.TrimSpace(params[module] + " " + setting)
	}
	return params
}
