// Package speed holds a benchmark of what a shadow region costs, and tests of what it measures with: "make shadowbench".
package speed
