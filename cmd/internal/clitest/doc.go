// Package clitest is what tests of command lines share: words for testscript, and a test of
// how a program starts.
package clitest
