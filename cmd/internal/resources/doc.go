// Package resources finds out what this machine and this process have: what a command
// can promise to those that it serves, and has to divide among them before the first
// comes. All of it is to be asked at the start, before privileges are given up.
package resources
