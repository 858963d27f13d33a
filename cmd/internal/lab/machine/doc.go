// Package machine describes the demo's two virtual machines and turns the descriptions into QEMU command lines.
// It starts nothing and opens nothing.
package machine
