// Package matrix says in which ways an app VM's network device can be set up, what its guest must agree to in each, and which few of
// them cover every pair of choices. It runs nothing.
package matrix
