// Package kernel reads what the image of a Linux kernel for x86 says about it: its release, and with what options it was built.
package kernel
