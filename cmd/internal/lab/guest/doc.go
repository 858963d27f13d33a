// Package guest leads the app VM over its serial console. The commands and answers are described at the head of the VM's
// /init, app-init.sh of package initramfs.
package guest
