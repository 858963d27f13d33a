package vring

// RaceEnabled tells the tests outside the package how patient to be.
const RaceEnabled = raceEnabled
