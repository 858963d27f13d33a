// Package layout holds a test and nothing else: which package of this module may import
// which. All arrows point down; see the table in layout_test.go.
package layout
