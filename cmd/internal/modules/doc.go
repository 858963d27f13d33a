// Package modules reads what a directory /lib/modules/RELEASE says about its kernel
// modules: modules.dep and modules.builtin.
package modules
