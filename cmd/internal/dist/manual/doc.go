// Package manual makes manual pages: of programs, from what they say of themselves (cli.Description) and the comment of their main
// package, and of the topics of "vvufwd help". Nothing is told twice, and no page is kept in the repository.
package manual
