// Package e2e tests vvubench with a real testpmd, which is unpacked below the source
// tree's build directory if it is not installed.
package e2e
